import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BackupDocument, BackupListDocument, BackupVerifyDocument } from "../../src/usecases/backup-documents.ts";
import { CLI, must, run, unterbau } from "../helpers/cli.ts";
import { damage, type Guest, makeGuest, toLuks1, toQcow2 } from "../helpers/guest.ts";
import { fileDisk, testGuests } from "../helpers/libvirt.ts";

let folder: string;
let guest: Guest;
let key: string;
let uri: string;
let env: Record<string, string>;
/** What the guest sees of its two disks. */
let hashes: string[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-backup-"));
  env = { UNTERBAU_STATE_DIR: join(folder, "state"), HOME: folder, TMPDIR: folder };
  guest = await makeGuest(folder, "mbr-ext4");
  key = join(folder, "key");
  // LUKS in a raw disk, and a qcow2 image.
  await toLuks1(guest.disks[0]!, join(folder, "luks.raw"), key);
  await toQcow2(guest.disks[0]!, join(folder, "plain.qcow2"));
  hashes = [sha(join(folder, "luks.raw")), sha(guest.disks[0]!)];
  uri = define();
  writeFileSync(join(folder, "pw"), "a password of a repository\n");
  await must("restic", ["init", "--repo", join(folder, "restic"), "--password-file", join(folder, "pw")], { env });
  await must("borg", ["init", "--encryption=repokey", join(folder, "borg")], {
    env: { ...env, BORG_PASSCOMMAND: `cat ${join(folder, "pw")}` },
  });
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sha = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
const define = (state: "shut off" | "running" = "shut off") =>
  testGuests(folder, [
    {
      name: "mail",
      devices: fileDisk(join(folder, "luks.raw"), "raw") + fileDisk(join(folder, "plain.qcow2"), "qcow2", "vdb"),
      state,
    },
  ]);

const ajv = new Ajv({ strict: true, allowUnionTypes: true });
for (const verb of ["check", "backup", "backup-list", "backup-verify"])
  ajv.addSchema(JSON.parse(readFileSync(`docs/schemas/${verb}.json`, "utf8")) as object, verb);
function document<T>(schema: string, text: Buffer): T {
  const doc = JSON.parse(text.toString()) as T;
  expect(ajv.validate(schema, doc), ajv.errorsText()).toBe(true);
  return doc;
}
const make = (to: string, ...more: string[]) =>
  unterbau(["backup", "vm:mail", "--to", to, "--json", "--connect", uri, ...more], { env });
const list = async (from: string, ...more: string[]) =>
  document<BackupListDocument>(
    "backup-list",
    (await unterbau(["backup", "list", "--from", from, "--json", ...more], { env })).stdout,
  );
const verify = (from: string, ...more: string[]) =>
  unterbau(["backup", "verify", "vm:mail", "--from", from, "--json", "--no-prompt", ...more], { env });

describe("backup", () => {
  const places: readonly (readonly [string, () => string, () => string[]])[] = [
    ["a folder", () => join(folder, "backups"), () => []],
    ["restic", () => `restic:${join(folder, "restic")}`, () => ["--repo-password-file", join(folder, "pw")]],
    ["borg", () => `borg:${join(folder, "borg")}`, () => ["--repo-password-file", join(folder, "pw")]],
  ];
  for (const [name, place, more] of places) {
    it(`${name}: holds what the guest has, and is shown to be restorable`, async () => {
      const made = await make(place(), ...more());
      expect(made.code, made.stderr).toBe(0);
      const doc = document<BackupDocument>("backup", made.stdout);
      expect(doc.disks.map((d) => [d.target, d.kind, d.sha256])).toEqual([
        ["vda", "content", hashes[0]],
        ["vdb", "content", hashes[1]],
      ]);
      expect(await list(place(), ...more())).toMatchObject({
        backups: [{ id: doc.id, guest: "mail" }],
        unfinished: [],
      });
      const good = await verify(place(), "--key-file", key, ...more());
      expect(good.code, good.stderr).toBe(0);
      const shown = document<BackupVerifyDocument>("backup-verify", good.stdout);
      expect(ajv.validate("check", shown.check), ajv.errorsText()).toBe(true);
      expect(shown.check.volumes.map((v) => [v.type, v.verdict])).toEqual([
        ["ext4", "clean"],
        ["ext4", "clean"],
      ]);
      // Nothing that was restored for it stays.
      expect(readdirSync(folder).filter((n) => n.startsWith("unterbau-"))).toEqual([]);
      // Without its key what is encrypted in the guest cannot be checked, and that is no OK.
      if (name === "a folder") expect((await verify(place())).code).toBe(8);
    });
  }

  it("a repository's item is what other programs take out of it", async () => {
    const dump = await run(
      "sh",
      [
        "-c",
        `restic --repo "$0" --password-file "$1" dump --tag item=vda.raw latest /vda.raw | sha256sum`,
        join(folder, "restic"),
        join(folder, "pw"),
      ],
      { env },
    );
    expect(dump.stdout.toString()).toContain(hashes[0]);
    const pass = { ...env, BORG_PASSCOMMAND: `cat ${join(folder, "pw")}` };
    const name = (await must("borg", ["list", "--short", join(folder, "borg")], { env: pass }))
      .split("\n")
      .find((n) => n.endsWith("--vdb.raw"))!;
    const out = await run("sh", ["-c", `borg extract --stdout "$0::$1" | sha256sum`, join(folder, "borg"), name], {
      env: pass,
    });
    expect(out.stdout.toString()).toContain(hashes[1]);
  });

  it("a backup that was changed, or whose file systems are damaged, is no good one", async () => {
    const place = join(folder, "altered");
    const { disks, id } = document<BackupDocument>("backup", (await make(place)).stdout);
    const disk = join(place, id, disks[1]!.name);
    appendFileSync(disk, "x");
    const altered = await verify(place, "--key-file", key);
    expect([altered.code, altered.stderr]).toEqual([8, expect.stringContaining("vdb.raw in the backup")]);
    truncateSync(disk, disks[1]!.size);
    expect((await verify(place, "--key-file", key)).code).toBe(0);
    // The disk was damaged before it was backed up.
    await damage(disk, guest.root.offset);
    const manifest = join(place, id, "manifest.json");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace(disks[1]!.sha256, sha(disk)));
    const damaged = await verify(place, "--key-file", key);
    expect(damaged.code).toBe(4);
    writeFileSync(manifest, "{}");
    expect((await verify(place)).stderr).toContain("is no manifest of a backup");
  });

  it("one that was killed is never listed; the next one cleans up", async () => {
    const place = join(folder, "killed");
    const args = [CLI, "backup", "vm:mail", "--to", place, "--connect", uri];
    for (const ms of [200, 350, 500]) {
      const child = spawn(process.execPath, args, { stdio: "ignore", env: { ...process.env, ...env } });
      const over = new Promise<number | null>((done) => child.on("exit", done));
      setTimeout(() => child.kill("SIGKILL"), ms);
      await over;
      const { backups, unfinished } = await list(place);
      for (const { id } of backups) expect(existsSync(join(place, id, "manifest.json"))).toBe(true);
      // What is there is one of both, and never more than this one is unfinished.
      expect(unfinished.length).toBeLessThan(2);
    }
    const last = await make(place);
    expect(last.code).toBe(0);
    const after = await list(place);
    expect(after.unfinished).toEqual([]);
    expect(after.backups.at(-1)!.id).toBe(document<BackupDocument>("backup", last.stdout).id);
    expect((await verify(place, "--key-file", key)).code).toBe(0);
  });

  it("restic takes half a disk for a whole one when we are killed; nobody is shown it as a backup", async () => {
    const [place, more] = [`restic:${join(folder, "restic")}`, ["--repo-password-file", join(folder, "pw")]];
    const before = await list(place, ...more);
    const args = [CLI, "backup", "vm:mail", "--to", place, "--connect", uri, ...more];
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ...env },
    });
    const over = new Promise((done) => child.on("exit", done));
    // It has begun with a disk.
    await new Promise<void>((done) => child.stderr.on("data", (c: Buffer) => c.includes("backing up vdb") && done()));
    child.kill("SIGKILL");
    await over;
    let after = await list(place, ...more);
    // restic goes on for a moment with what it has.
    while (after.unfinished.length === 0) after = await list(place, ...more);
    expect(after.backups).toEqual(before.backups);
    expect(after.unfinished).toHaveLength(1);
    const none = await verify(place, "--id", after.unfinished[0]!, ...more);
    expect([none.code, none.stderr]).toEqual([16, expect.stringContaining("it was cut off")]);
  });

  it("a full disk: a clear refusal, nothing stays", async () => {
    const small = join(folder, "small");
    mkdirSync(small);
    await must("mount", ["-t", "tmpfs", "-o", "size=2m", "unterbau-test", small]);
    try {
      const { code, stderr } = await make(small);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/ENOSPC[\s\S]*hint: it is full/)]);
      expect(readdirSync(small)).toEqual([]);
      // restic has nowhere to write to.
      await must("restic", ["init", "--repo", join(small, "r"), "--password-file", join(folder, "pw")], { env });
      const full = await make(`restic:${join(small, "r")}`, "--repo-password-file", join(folder, "pw"));
      expect([full.code, full.stderr]).toEqual([1, expect.stringContaining("restic ended with")]);
    } finally {
      await run("umount", [small]);
    }
  });

  it("a source that changes meanwhile, and a guest that runs, are refused", async () => {
    const place = join(folder, "changing");
    // A writer that asks for no lock, as a program that knows nothing of images.
    const writer = spawn("sh", [
      "-c",
      `while :; do printf x | dd of="$0" bs=1 seek=70000 conv=notrunc status=none; done`,
      join(folder, "plain.qcow2"),
    ]);
    try {
      const { code, stderr } = await make(place);
      expect([code, stderr]).toEqual([1, expect.stringContaining("was changed while it was read")]);
    } finally {
      writer.kill("SIGKILL");
      await toQcow2(guest.disks[0]!, join(folder, "plain.qcow2"));
    }
    expect(await list(place)).toMatchObject({ backups: [], unfinished: [] });
    const running = await unterbau(["backup", "vm:mail", "--to", place, "--connect", define("running")], { env });
    expect([running.code, running.stderr]).toEqual([
      1,
      expect.stringMatching(/the guest mail is running[\s\S]*--live/),
    ]);
  });

  it("refuses wrong places, wrong passwords and wrong words", async () => {
    const wrong = join(folder, "wrong");
    writeFileSync(wrong, "no");
    for (const kind of ["restic", "borg"]) {
      const bad = await make(`${kind}:${join(folder, kind)}`, "--repo-password-file", wrong);
      expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining(`${kind} ended with`)]);
      const none = await make(`${kind}:${join(folder, "nothing")}`, "--repo-password-file", wrong);
      expect([none.code, none.stderr]).toEqual([1, expect.stringContaining(`${kind} ended with`)]);
    }
    expect((await make("restic:")).code).toBe(2);
    expect((await make(join(folder, "pw"))).code).toBe(1);
    const unsaid = await unterbau(["backup", "vm:mail", "--connect", uri], { env });
    expect([unsaid.code, unsaid.stderr]).toEqual([2, expect.stringContaining("--to")]);
    const bare = await unterbau(["backup", "verify", "--from", folder]);
    expect([bare.code, bare.stderr]).toEqual([16, expect.stringContaining("vm:guest")]);
    const unknown = await verify(join(folder, "backups"), "--id", "20200101-000000-abcd");
    expect([unknown.code, unknown.stderr]).toEqual([16, expect.stringContaining("no whole backup")]);
    expect((await list(join(folder, "not-there"))).backups).toEqual([]);
    expect(statSync(join(folder, "backups")).mode & 0o077).toBe(0);
  });
});
