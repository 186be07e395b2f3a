import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CheckDocument } from "../../src/usecases/documents.ts";
import type { RunsDocument } from "../../src/usecases/runs.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { damage, type Guest, makeGuest, PASSPHRASE, sha256File, toLuks1 } from "../helpers/guest.ts";

const QUESTION = "locked): ";

/** Types one answer to each question of the command line, on a terminal of its own. */
function onTerminal(
  args: readonly string[],
  answers: readonly string[],
): Promise<{ code: number | null; text: string }> {
  return new Promise((done, fail) => {
    const command = [process.execPath, CLI, ...args].map((a) => `'${a}'`).join(" ");
    const child = spawn("script", ["-q", "-e", "-c", `${command}; code=$?; stty -a; exit $code`, "/dev/null"], {
      env: { ...process.env, NO_COLOR: "1" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let text = "";
    let asked = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const questions = text.split(QUESTION).length - 1;
      for (; asked < questions && asked < answers.length; asked++) child.stdin.write(answers[asked]!);
    });
    child.on("error", fail);
    child.on("close", (code) => done({ code, text }));
  });
}

describe("keys, terminals and streams", () => {
  let folder: string;
  let env: Record<string, string>;
  let guest: Guest;
  let disk: string;
  let luks: string;
  let key: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-streams-"));
    env = { UNTERBAU_STATE_DIR: join(folder, "state") };
    guest = await makeGuest(folder, "mbr-ext4");
    disk = guest.disks[0]!;
    await damage(disk, guest.root.offset);
    luks = join(folder, "os43.luks");
    key = join(folder, "key");
    await toLuks1(disk, luks, key);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const opens = async (args: string[], options: { env?: Record<string, string>; input?: Uint8Array } = {}) => {
    const r = await unterbau(["inspect", luks, "--no-prompt", ...args], options);
    return { code: r.code, open: r.stdout.toString().includes("ext4") };
  };

  it("takes a key from each of its sources, as cryptsetup takes its bytes", async () => {
    const uuid = (await must("cryptsetup", ["luksUUID", luks])).trim();
    const wrong = join(folder, "wrong");
    writeFileSync(wrong, `${PASSPHRASE}\n`);
    const open = { code: 0, open: true };
    expect(await opens(["--key-file", key])).toEqual(open);
    expect(await opens(["--key-file", wrong])).toEqual({ code: 1, open: false });
    expect(await opens(["--key-file", wrong, "--key-file", key])).toEqual(open);
    expect(await opens(["--key-file", `${uuid}=${key}`])).toEqual(open);
    expect(await opens(["--key-file", `00000000-0000-0000-0000-000000000000=${key}`])).toEqual({
      code: 0,
      open: false,
    });
    expect(await opens(["--key-file", "-"], { input: Buffer.from(PASSPHRASE) })).toEqual(open);
    const credentials = join(folder, "credentials");
    mkdirSync(credentials);
    writeFileSync(join(credentials, `unterbau.${uuid}`), PASSPHRASE);
    expect(await opens([], { env: { CREDENTIALS_DIRECTORY: credentials } })).toEqual(open);
    const line = '"$1" "$2" inspect --no-prompt --key-fd 7 "$3" 7< "$4"';
    expect(await must("sh", ["-c", line, "sh", process.execPath, CLI, luks, key])).toContain("ext4");
  });

  it("asks on the terminal three times, without echo, and leaves it as it was", async () => {
    const right = await onTerminal(["inspect", luks], ["no\r", `${PASSPHRASE}\r`]);
    expect(right.code).toBe(0);
    expect(right.text).toContain("ext4");
    expect(right.text).not.toContain(PASSPHRASE);
    expect(right.text).toMatch(/ icanon[\s\S]* echo /);
    const wrong = await onTerminal(["inspect", luks], ["a\r", "b\r", "c\r", "d\r"]);
    expect(wrong.code).toBe(1);
    expect(wrong.text.split(QUESTION)).toHaveLength(4);
    expect(wrong.text.split("No keyslot opens with that. ")).toHaveLength(3);
    const cancelled = await onTerminal(["check", luks], ["half\x03"]);
    expect(cancelled.code).toBe(32);
    expect(cancelled.text).toMatch(/unterbau: cancelled\r\n[\s\S]* icanon[\s\S]* echo /);
  });

  it("ends in one line when standard output cannot be written, and tells the run on standard error", async () => {
    const to = (path: string, ...args: string[]) =>
      run("sh", ["-c", 'out=$1; shift; exec "$@" > "$out"', "sh", path, process.execPath, CLI, ...args], { env });
    const line = /^unterbau: cannot write to standard output: [^\n]+\n$/;
    const inspect = await to("/dev/full", "inspect", disk);
    expect([inspect.code, inspect.stderr]).toEqual([1, expect.stringMatching(line)]);
    const before = await sha256File(disk);
    const check = await to("/dev/full", "check", disk, "--repair");
    expect([check.code, check.stderr]).toEqual([8, expect.stringMatching(line)]);
    expect(await sha256File(disk)).toBe(before);
    const committed = await to("/dev/full", "check", disk, "--repair", "--json");
    expect(committed.code).toBe(8);
    const id = /^run (\S+): /.exec(committed.stderr)![1]!;
    expect((await unterbau(["undo", id], { env })).code).toBe(0);
    expect(await sha256File(disk)).toBe(before);
  });

  it("can be interrupted while the reader of a pipe pauses, however much there is to say", async () => {
    const names = join(folder, "names");
    mkdirSync(names);
    for (let i = 0; i < 6000; i++)
      writeFileSync(join(names, `a name that is long enough to fill a pipe soon, ${i}`), "");
    const image = join(folder, "names.img");
    await must("mke2fs", ["-q", "-F", "-t", "ext4", "-d", names, image, "32M"]);
    const child = spawn(process.execPath, [CLI, "ls", image, "--volume", "disk1"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
    // The first bytes are there, and nobody takes them.
    await new Promise<void>((resolve) => child.stdout.once("readable", resolve));
    const killer = setInterval(() => child.kill("SIGINT"), 500);
    const last = setTimeout(() => child.kill("SIGKILL"), 60_000);
    // The signal's own end where one more comes while Node takes itself down.
    expect([130, "SIGINT"]).toContain(await ended);
    clearInterval(killer);
    clearTimeout(last);
    child.stdout.destroy();
  });

  it("says nothing when the reader of a pipe has gone", async () => {
    const line = '"$1" "$2" read "$3" --volume p2 | head -c 1 | wc -c';
    const r = await run("sh", ["-c", line, "sh", process.execPath, CLI, disk]);
    expect([r.stdout.toString().trim(), r.stderr]).toEqual(["1", ""]);
  });

  it("lists runs by time, with absolute paths, and keeps no text from inside an encrypted guest", async () => {
    const state = { UNTERBAU_STATE_DIR: join(folder, "state2") };
    const repair = async (cwd: string, args: string[]) => {
      const r = await unterbau(["check", ...args, "--repair", "--json"], { env: state, cwd });
      expect(r.code).toBe(1);
      return JSON.parse(r.stdout.toString()) as CheckDocument;
    };
    const plain = await repair(folder, ["guest.raw"]);
    const secret = await repair(folder, ["os43.luks", "--key-file", key]);
    const list = JSON.parse((await unterbau(["runs", "--json"], { env: state })).stdout.toString()) as RunsDocument;
    expect(list.runs.map((r) => [r.run, r.sources])).toEqual([
      [plain.run, [disk]],
      [secret.run, [luks]],
    ]);
    const record = (id: string | null) => readFileSync(join(folder, "state2", "runs", id!, "run.json"), "utf8");
    expect(record(plain.run)).toContain("/etc");
    expect(secret.volumes[0]!.log).toContain("/etc");
    expect(record(secret.run)).not.toContain("/etc");
  });
});
