import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { sweep } from "../../src/host/mount-folder.ts";
import { altered } from "../helpers/altered.ts";
import { bundleFor, runCaged } from "../helpers/caged.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
let folder: ReturnType<typeof temporaryFolder>;
let script: string;

beforeAll(() => {
  folder = temporaryFolder();
  script = bundleFor(folder.path, fileURLToPath(new URL("./fuse-child.ts", import.meta.url)));
});

afterAll(() => folder.remove());

const bash = (line: string): string[] => ["/bin/bash", "-c", line];

describe("the checker's cage", () => {
  it("has no network: a port that is open outside cannot be reached", async () => {
    const server = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const line = `exec 3<>/dev/tcp/127.0.0.1/${port}`;
    // The same line works outside, asynchronously so that the server can answer.
    const [outside] = (await once(spawn("bash", ["-c", line]), "close")) as [number];
    expect(outside).toBe(0);
    const inside = await runCaged(memoryDevice(new Uint8Array(4096)), bash(line));
    server.close();
    expect(inside.exitCode).not.toBe(0);
    expect(inside.output).toMatch(/Operation not permitted/);
  });

  it("sees nothing of /etc, home folders and other processes", async () => {
    expect(statSync("/etc/passwd").size).toBeGreaterThan(0);
    const { output, exitCode } = await runCaged(
      memoryDevice(new Uint8Array(4096)),
      bash(
        'cd /; echo *; echo /etc/*; for f in /etc/passwd /etc/shadow; do : < $f; done; for p in /proc/[0-9]*; do n=$((n+1)); done; echo "processes $n"',
      ),
      { env: { ...process.env, TZ: undefined } },
    );
    expect(exitCode).toBe(0);
    const [root, etc] = output.split("\n");
    expect(root!.split(" ").filter((e) => !e.startsWith("lib"))).toEqual(
      ["bin", "dev", "disk", "etc", "proc", "tmp", "usr"].sort(),
    );
    for (const name of etc!.split(" ")) expect(["/etc/ld.so.cache", "/etc/localtime"]).toContain(name);
    expect(output).toContain("/etc/passwd: No such file");
    expect(output).toContain("/etc/shadow: No such file");
    expect(output).toMatch(/processes [1-3]\n/);
  });

  it("writes to its file and an empty /tmp, nowhere else", async () => {
    const device = memoryDevice(new Uint8Array(4096));
    const { output } = await runCaged(
      device,
      bash("for f in /x /usr/x /usr/lib/x /etc/x /dev/x /tmp/x /disk; do echo hi > $f && echo wrote $f; done"),
    );
    expect(output.split("\n").filter((l) => l.startsWith("wrote"))).toEqual(["wrote /tmp/x"]);
    // Truncation on opening is refused, since the size is fixed; writing in place is not.
    const { output: second } = await runCaged(device, bash("exec 3<>/disk; echo hi >&3 && echo wrote"));
    expect(second).toBe("wrote\n");
    expect(Buffer.from(device.bytes().subarray(0, 3)).toString()).toBe("hi\n");
  });

  it("keeps the file read-only when asked to", async () => {
    const device = memoryDevice(new Uint8Array(4096).fill(7));
    const { output, exitCode } = await runCaged(device, bash("exec 3<>/disk"), { writable: false });
    expect(exitCode).not.toBe(0);
    expect(output).toMatch(/Read-only file system|Permission denied/);
    expect(device.bytes().every((b) => b === 7)).toBe(true);
  });

  it("passes on the pinned time and nothing else of the environment", async () => {
    const env = { ...process.env, E2FSCK_TIME: "1234567890", SECRET_TOKEN: "do not tell" };
    const { output } = await runCaged(memoryDevice(new Uint8Array(512)), bash("export -p"), { env });
    expect(output).toContain('E2FSCK_TIME="1234567890"');
    expect(output).toContain('LC_ALL="C"');
    expect(output).not.toContain("SECRET_TOKEN");
    expect(output).not.toContain("HOME");
  });

  it("has no capabilities, cannot make namespaces, and holds no descriptor of ours", async () => {
    const status = await runCaged(
      memoryDevice(new Uint8Array(512)),
      bash("while read -r l; do echo $l; done < /proc/self/status; cd /proc/$$/fd; echo fds *"),
    );
    expect(status.output).toMatch(/^CapEff: 0+$/m);
    expect(status.output).toMatch(/^CapBnd: 0+$/m);
    expect(status.output).toMatch(/^NoNewPrivs: 1$/m);
    const fds = /^fds (.*)$/m.exec(status.output)![1]!.split(" ").map(Number);
    // 5 is the progress pipe; bash opens high ones (10 and up) for itself.
    expect(fds.filter((fd) => fd < 10 && ![0, 1, 2, 3, 5].includes(fd))).toEqual([]);
    expect(status.output).not.toContain("/dev/fuse");
  });
});

describe("the cage for a tool of the user's choice", () => {
  it("shows the host read-only and keeps the working directory", async () => {
    const outside = join(folder.path, "outside");
    writeFileSync(outside, "before");
    const { output } = await runCaged(
      memoryDevice(new Uint8Array(8192)),
      [
        "/bin/sh",
        "-c",
        `pwd; stat -c %s {}; echo after > ${outside}; unshare -U true || echo no namespaces; id -u > /dev/null`,
      ],
      { cage: "host" },
    );
    expect(output).toContain(`${process.cwd()}\n8192\n`);
    expect(output).toContain("Read-only file system");
    expect(output).toContain("no namespaces");
    expect(readFileSync(outside, "utf8")).toBe("before");
  });

  it("can write where the caller allows it", async () => {
    const dir = join(folder.path, "allowed");
    mkdirSync(dir);
    const { exitCode } = await runCaged(
      memoryDevice(Buffer.from("content")),
      ["/bin/sh", "-c", `cat {} > ${dir}/copy`],
      { cage: "host", writablePaths: [dir] },
    );
    expect(exitCode).toBe(0);
    expect(readFileSync(join(dir, "copy"), "utf8")).toBe("content");
  });
});

describe("how a run ends", () => {
  it("stops a program that runs too long, also one that waits for the disk", async () => {
    const busy = await runCaged(memoryDevice(new Uint8Array(512)), bash("while :; do :; done"), { timeoutMs: 300 });
    expect(busy).toMatchObject({ exitCode: null, signal: "SIGKILL", timedOut: true, cancelled: false });
    const hanging = altered(memoryDevice(new Uint8Array(MIB)), { read: () => new Promise(() => undefined) });
    const waiting = await runCaged(hanging, bash("read x < /disk"), { timeoutMs: 300 });
    expect(waiting).toMatchObject({ exitCode: null, signal: "SIGKILL", timedOut: true, deviceError: null });
    expect(waiting.seconds).toBeLessThan(60);
  });

  it("is cancelled by the caller's signal", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 200);
    const result = await runCaged(memoryDevice(new Uint8Array(512)), bash("while :; do :; done"), {
      signal: controller.signal,
    });
    expect(result).toMatchObject({ exitCode: null, cancelled: true, timedOut: false });
    await expect(
      runCaged(memoryDevice(new Uint8Array(512)), bash("true"), { signal: controller.signal }),
    ).rejects.toMatchObject({ code: "cancelled" });
  });

  it("tells a crash from an exit code", async () => {
    const device = memoryDevice(new Uint8Array(512));
    expect(await runCaged(device, bash("kill -SEGV $$"))).toMatchObject({ exitCode: null, signal: "SIGSEGV" });
    expect(await runCaged(device, bash("exit 4"))).toMatchObject({ exitCode: 4, signal: null });
  });

  it("never takes a program that could not be started for one that ended", async () => {
    const broken = join(folder.path, "broken");
    writeFileSync(broken, "#!/no/such/interpreter\n");
    chmodSync(broken, 0o755);
    await expect(runCaged(memoryDevice(new Uint8Array(512)), [broken])).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("execvp") as string,
    });
  });

  it("names the package when bubblewrap is missing", async () => {
    const { requireBwrap } = await import("../../src/tools/bwrap.ts");
    const { findProgram } = await import("../../src/tools/find.ts");
    expect(findProgram("no-such-program-here")).toBeNull();
    expect(() => requireBwrap("", [])).toThrow(/bubblewrap is not installed/);
  });

  it("leaves no descriptor, mount or file behind", async () => {
    const before = readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 5; i++) await runCaged(memoryDevice(new Uint8Array(4096)), bash("read x < /disk"));
    expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 1);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toMatch(/ fuse unterbau /);
  });
});

describe("a process killed with SIGKILL", () => {
  /** Processes with `marker` in their environment or arguments. */
  function holding(marker: string): string[] {
    return readdirSync("/proc").filter((pid) => {
      if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
      try {
        return ["cmdline", "environ"].some((f) => readFileSync(`/proc/${pid}/${f}`, "latin1").includes(marker));
      } catch {
        return false;
      }
    });
  }

  async function saying(child: ChildProcess, word: string): Promise<void> {
    let seen = "";
    for await (const chunk of child.stderr!) {
      seen += String(chunk);
      if (seen.includes(word)) return;
    }
    throw new Error(`the child ended before it said ${word}: ${seen}`);
  }

  async function killed(name: string, word: string, env: NodeJS.ProcessEnv, argv: readonly string[]): Promise<void> {
    const tmp = join(folder.path, `tmp-${name}`);
    mkdirSync(tmp);
    const image = join(folder.path, `${name}.img`);
    sparseFile(image, 16 * MIB);
    run("mke2fs", "-q", "-F", "-t", "ext4", image);
    const marker = String(1_900_000_000 + randomInt(90_000_000));
    const child = spawn(process.execPath, [script, image, ...argv], {
      env: { ...process.env, ...env, TMPDIR: tmp, E2FSCK_TIME: marker },
      stdio: ["ignore", "ignore", "pipe"],
    });
    await saying(child, word);
    expect(holding(marker).length).toBeGreaterThan(1);
    child.kill("SIGKILL");
    const deadline = Date.now() + 60_000;
    while (holding(marker).length > 0 && Date.now() < deadline) await new Promise((r) => setTimeout(r, 20));
    expect(holding(marker)).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(tmp);
    const left = readdirSync(tmp, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
    for (const entry of left) expect(statSync(join(entry.parentPath, entry.name)).size).toBe(0);
    // The mount point and the lock that tells that nobody needs it; the next command takes both away.
    expect(left.length).toBeLessThanOrEqual(2);
    sweep(tmp);
    expect(readdirSync(tmp)).toEqual([]);
  }

  it("takes a running program with it", async () => {
    await killed("running", "alive", {}, bash("echo alive; while :; do read -r x < /disk; done"));
  });

  it("takes an e2fsck with it that waits for the disk", async () => {
    await killed("waiting", "hanging", { HANG_AT: String(64 * 1024) }, [
      run("sh", "-c", "command -v e2fsck").trim(),
      "-fn",
      "{}",
    ]);
  });
});

describe("an ordinary user", () => {
  /** Runs the child script as `nobody` when this is root, with a /dev/fuse as systems usually have it (mode 0666). */
  function asUser(argv: readonly string[], env: NodeJS.ProcessEnv): { stdout: string; stderr: string } {
    const script_ = [process.execPath, script, ...argv];
    if (process.getuid!() !== 0) return spawnSync(script_[0]!, script_.slice(1), { env, encoding: "utf8" });
    const tmp = env.TMPDIR!;
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if (spawnSync(user[0]!, [...user.slice(1), process.execPath, "-v"]).status !== 0) {
      // Installed in a home folder that others may not enter.
      cpSync(process.execPath, join(folder.path, "node"));
      script_[0] = join(folder.path, "node");
    }
    const prepare = `mkdir ${tmp}/dev && mount -t tmpfs none ${tmp}/dev && mknod -m 666 ${tmp}/dev/fuse c 10 229 &&
      mount --bind ${tmp}/dev/fuse /dev/fuse && umount ${tmp}/dev && rmdir ${tmp}/dev && exec "$@"`;
    return spawnSync("unshare", ["-m", "sh", "-c", prepare, "sh", ...user, ...script_], { env, encoding: "utf8" });
  }

  it("checks and repairs without root", () => {
    const tmp = join(folder.path, "tmp-user");
    mkdirSync(tmp);
    chmodSync(tmp, 0o1777);
    const image = join(folder.path, "user.img");
    sparseFile(image, 16 * MIB);
    run("mke2fs", "-q", "-F", "-t", "ext4", image);
    run("debugfs", "-w", "-R", "ssv free_blocks_count 17", image);
    chmodSync(image, 0o666);
    const env = { ...process.env, TMPDIR: tmp, WRITABLE: "1" };
    const { stdout, stderr } = asUser([image, run("sh", "-c", "command -v e2fsck").trim(), "-fy", "{}"], env);
    const result = JSON.parse(stdout || JSON.stringify({ stderr })) as Record<string, unknown>;
    expect(result).toMatchObject({ exitCode: 1, signal: null, deviceError: null });
    expect(spawnSync("e2fsck", ["-fn", image]).status).toBe(0);
    expect(readdirSync(tmp)).toEqual([]);
  });

  it("is told what to allow where user namespaces are forbidden", () => {
    const none = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';
    const env = { ...process.env, TMPDIR: folder.path };
    // Inside a user namespace of its own the limit is lowered for this one program only.
    const { stdout, stderr } = spawnSync(
      "unshare",
      [
        "-U",
        "-r",
        "sh",
        "-c",
        none,
        "sh",
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        process.execPath,
        script,
        join(folder.path, "user.img"),
        "/bin/true",
      ],
      { env, encoding: "utf8" },
    );
    const result = JSON.parse(stdout || JSON.stringify({ stderr })) as { error: string; hint: string };
    expect(result.error).toMatch(/does not let an ordinary user mount privately/);
    expect(result.hint).toContain("max_user_namespaces");
  });
});
