import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bundleScript } from "../faults/bundle.ts";
import { makeBootable } from "../helpers/boot-code.ts";
import { must, run, unterbau } from "../helpers/cli.ts";
import { CHEAP_LUKS1, opens } from "../helpers/cryptsetup.ts";
import { copyOf, damage, type Guest, makeGuest, toLuks1, toQcow2 } from "../helpers/guest.ts";
import { fileDisk, uuidOf } from "../helpers/libvirt.ts";
import { qemuDomain, type SessionDaemon, startSessionDaemon } from "../helpers/session-daemon.ts";

const UUID = uuidOf(1);
/** In a file of the guest. */
const MARK = "content 59\ncontent 59\n";
let daemon: SessionDaemon;
let sound: Guest;
let env: Record<string, string>;
let child: ReturnType<typeof bundleScript>;
const at = (name: string): string => join(daemon.folder, name);
let [disk, target, key] = ["", "", ""];

beforeAll(async () => {
  daemon = await startSessionDaemon();
  sound = await makeGuest(daemon.folder, "mbr-ext4");
  child = bundleScript("retire-child.ts");
  [disk, target, key] = [at("mail.raw"), at("mail.luks"), at("key")];
  writeFileSync(key, "the passphrase of the mail server");
});
afterAll(async () => {
  child?.cleanup();
  await daemon?.end();
});
beforeEach(async () => {
  env = { UNTERBAU_STATE_DIR: at("state"), XDG_CACHE_HOME: at("cache_home") };
  copyOf(sound.disks[0]!, disk);
  makeBootable(disk);
  daemon.handOver(disk);
  expect(has(disk)).toBe(true);
  await define("mail", UUID, fileDisk(disk, "raw"));
});
afterEach(async () => {
  for (const uuid of (await daemon.virsh("list", "--all", "--uuid")).split("\n").filter((l) => l !== "")) {
    await run("virsh", ["-c", daemon.uri, "destroy", uuid]);
    await run("virsh", ["-c", daemon.uri, "undefine", uuid, "--nvram"]);
  }
  for (const uuid of (await daemon.virsh("secret-list")).match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [])
    await daemon.virsh("secret-undefine", uuid);
  for (const name of readdirSync(daemon.folder).filter((n) => n.startsWith("mail") || n === "state"))
    rmSync(at(name), { recursive: true, force: true });
});

async function define(name: string, uuid: string, disks: string): Promise<void> {
  writeFileSync(at("mail.xml"), qemuDomain(name, uuid, disks));
  await daemon.virsh("define", at("mail.xml"));
}

const has = (path: string): boolean => spawnSync("grep", ["-q", "-z", "-F", MARK.split("\n")[0]!, path]).status === 0;
const cli = (verb: string, ...args: string[]) => unterbau([verb, ...args, "--connect", daemon.uri], { env });
const guests = async () => (await daemon.virsh("list", "--all", "--name")).split("\n").filter((l) => l !== "");

async function migrate(...more: string[]): Promise<string> {
  const to = ["--to-file", target, "--target-key-file", key, ...CHEAP_LUKS1];
  const r = await cli("migrate", "vm:mail", ...to, "--no-prompt", "--json", ...more);
  expect(r.code, r.stderr).toBe(0);
  daemon.handOver(target);
  return JSON.parse(r.stdout.toString()).run;
}

/** Starts the copy, ends it, and checks it. */
async function bootAndCheck(clone = "mail-luks"): Promise<void> {
  await daemon.virsh("start", clone);
  await daemon.virsh("destroy", clone);
  const r = await unterbau(["check", target, "--key-file", key, "--no-prompt"], { env });
  expect(r.code, r.stderr).toBe(0);
}

/** Destroys without asking, and dies at this point; `more`: for the child. */
const work = (id: string, killAt: string, more: Record<string, string> = {}) =>
  spawnSync("node", [child.path, id, killAt], {
    encoding: "utf8",
    env: { ...process.env, ...env, CONNECT: daemon.uri, ...more },
  });

/** As sysfs names a device. */
const numberOf = (dev: number): string =>
  `${Math.floor(dev / 256) % 4096}:${(dev % 256) + Math.floor(dev / 2 ** 20) * 256}`;

const schema = (name: string) => {
  const ajv = new Ajv({ strict: true, allowUnionTypes: true });
  return ajv.compile(JSON.parse(readFileSync(`docs/schemas/${name}.json`, "utf8")));
};

describe("retire", () => {
  it("destroys the old disk once the copy was started and checked, and writes the record", async () => {
    const id = await migrate();
    const early = await cli("retire", "vm:mail", "--yes-destroy", "mail.raw");
    expect([early.code, early.stderr]).toEqual([
      2,
      expect.stringContaining("was not checked since the migration ended"),
    ]);
    expect(early.stderr).toMatch(/hint: start mail-luks .*unterbau check vm:mail-luks --live/);
    const before = readFileSync(disk);
    const started = await unterbau(["check", target, "--key-file", key, "--no-prompt"], { env });
    expect(started.code).toBe(0);
    const unbooted = await cli("retire", "vm:mail", "--yes-destroy", "mail.raw");
    expect(unbooted.stderr).toMatch(/that mail-luks was started since the migration ended is not shown/);
    await bootAndCheck();

    const planned = await cli("retire", "vm:mail", "--dry-run");
    expect(planned.code, planned.stderr).toBe(0);
    expect(planned.stdout.toString()).toMatch(/would be destroyed.*\n(.*\n)*nothing was changed/);
    const unnamed = await unterbau(["retire", "vm:mail", "--connect", daemon.uri, "--yes-destroy", "mail"], { env });
    expect([unnamed.code, unnamed.stderr]).toEqual([
      2,
      expect.stringContaining("was not named: nothing was destroyed"),
    ]);
    expect(readFileSync(disk).equals(before)).toBe(true);

    const r = await cli("retire", "vm:mail", "--yes-destroy", "mail.raw", "--json");
    expect(r.code, r.stderr).toBe(0);
    const record = JSON.parse(r.stdout.toString());
    const valid = schema("retire");
    expect(valid(record), JSON.stringify(valid.errors)).toBe(true);
    expect(record).toMatchObject({ run: id, state: "done", undefined: true, proof: { overridden: false } });
    expect(record.proof.booted.by).toBe("qemu-log");
    expect(record.targets[0].disk).toEqual({ name: "vda", sha256: createHash("sha256").update(before).digest("hex") });
    expect(record.targets[0]).toMatchObject({ role: "disk", path: disk, wasPlaintext: true, removed: true });
    expect(existsSync(disk)).toBe(false);
    expect(await guests()).toEqual(["mail-luks"]);

    const listed = await cli("list", "--json");
    const { guests: left } = JSON.parse(listed.stdout.toString());
    expect(schema("list")(JSON.parse(listed.stdout.toString()))).toBe(true);
    expect(left).toMatchObject([
      {
        name: "mail-luks",
        migration: {
          role: "new",
          run: id,
          state: "done",
          partner: { uuid: UUID, name: "mail", defined: false },
          oldDisk: "destroyed",
          retired: record.ended,
        },
      },
    ]);
    expect((await cli("list")).stdout.toString()).toMatch(
      /migrated from mail \(not defined here\) · the old disk was destroyed on \d{4}-\d\d-\d\d/,
    );

    const path = at(`state/retirements/${id}.json`);
    expect([JSON.parse(readFileSync(path, "utf8")), statSync(path).mode & 0o777]).toEqual([record, 0o600]);
    const list = await unterbau(["retire", "--list", "--json"], { env });
    expect(schema("retirements")(JSON.parse(list.stdout.toString()))).toBe(true);
    const shown = await unterbau(["retire", "--show", id], { env });
    expect(shown.stdout.toString()).toMatch(/the old disk of mail is destroyed/);
    expect((await unterbau(["migrate", "--list"], { env })).stdout.toString()).toMatch(/the old disk is destroyed/);
    const back = await cli("migrate", "--rollback", id, "--force", "--no-prompt");
    expect([back.code, back.stderr]).toEqual([2, expect.stringMatching(/cannot be taken back: `retire` has begun/)]);
    const again = await cli("retire", id);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("is destroyed already")]);
  });

  it("leaves nothing of it on the file system's device (needs root)", async () => {
    const [image, mount] = [at("mail-fs.img"), at("mail-fs")];
    await must("truncate", ["-s", "160M", image]);
    await must("mke2fs", ["-q", "-t", "ext4", "-F", image]);
    await must("mkdir", [mount]);
    await must("mount", ["-o", "loop", image, mount]);
    try {
      const inside = join(mount, "mail.raw");
      copyOf(disk, inside);
      daemon.handOver(mount, inside);
      await define("mail", UUID, fileDisk(inside, "raw"));
      // Its undo log has old bytes of the disk.
      await damage(inside, sound.root.offset);
      const repaired = await cli("check", "vm:mail", "--repair", "--json");
      expect(repaired.code, repaired.stderr).toBe(1);
      const log = at(`state/runs/${JSON.parse(repaired.stdout.toString()).run}/undo-0.log`);
      expect(statSync(log).size).toBeGreaterThan(0);
      await migrate();
      await must("sync", []);
      expect(has(image)).toBe(true);
      const r = await cli("retire", "vm:mail", "--yes-destroy", "mail.raw", "--i-know", "--json");
      expect(r.code, r.stderr).toBe(0);
      const record = JSON.parse(r.stdout.toString());
      expect(record.proof.overridden).toBe(true);
      expect(record.targets.map((t: { role: string }) => t.role)).toEqual(["disk", "undo-log"]);
      expect(existsSync(log)).toBe(false);
      expect((await unterbau(["runs", "--json"], { env })).stdout.toString()).toContain('"accepted"');
    } finally {
      await must("umount", [mount]);
    }
    expect(has(image)).toBe(false);
  });

  it("a device is overwritten as a whole (needs root); the domain may stay, and is not started", async () => {
    const loop = (await must("losetup", ["--find", "--show", disk])).trim();
    try {
      daemon.handOver(loop);
      await define("mail", UUID, fileDisk(loop, "raw").replace("type='file'", "type='block'").replace("file=", "dev="));
      const id = await migrate();
      const r = await cli("retire", id, "--yes-destroy", loop, "--i-know", "--keep-domain", "--json");
      expect(r.code, r.stderr).toBe(0);
      const [own] = JSON.parse(r.stdout.toString()).targets;
      expect(own).toMatchObject({ identity: { kind: "blockdev" }, overwrittenBytes: 80 * 1024 * 1024, removed: false });
      await must("sync", []);
      expect(has(disk)).toBe(false);
      expect(await guests()).toEqual(["mail", "mail-luks"]);
      const list = JSON.parse((await cli("list", "--json")).stdout.toString());
      const old = list.guests.find((g: { name: string }) => g.name === "mail");
      expect(old.disks[0].problem).toMatch(/^it was destroyed on /);
      expect(old.migration).toMatchObject({ role: "old", partner: { name: "mail-luks" }, oldDisk: "destroyed" });
      const started = await cli("unlock", "vm:mail", "--start", "--no-prompt");
      expect([started.code, started.stderr]).toEqual([1, expect.stringContaining("its disk was destroyed")]);
    } finally {
      await must("losetup", ["-d", loop]);
    }
  });

  it("an SSD gives the blocks back, of an image and of one below it that is named; what is not named is told of", async () => {
    const [base, top] = [at("mail-base.qcow2"), at("mail.qcow2")];
    await toQcow2(disk, base);
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top]);
    daemon.handOver(base, top);
    await define("mail", UUID, fileDisk(top, "qcow2"));
    const id = await migrate();
    const planned = await cli("retire", id, "--dry-run", "--i-know");
    expect(planned.stdout.toString()).toContain(`left as it is: the image below: ${base}`);
    const other = await cli("retire", id, "--dry-run", "--i-know", "--backing", target);
    expect(other.stderr).toMatch(/mail\.luks is no image below .*mail\.qcow2.*\n.*mail-base\.qcow2/);
    const more = { SSD: numberOf(statSync(top).dev), BACKING: base, KEEP: "1" };
    for (const point of ["discard", "discard"]) expect(work(id, point, more).signal).toBe("SIGKILL");
    const done = work(id, "", more);
    expect(done.status, done.stderr).toBe(0);
    const record = JSON.parse(done.stdout);
    expect(record).toMatchObject({ verdict: "warn", advice: [expect.stringContaining("nvme sanitize /dev/nvme7")] });
    for (const [i, path] of [top, base].entries()) {
      expect(record.targets[i]).toMatchObject({ path, method: "random-overwrite+discard", discard: "holes" });
      expect(record.targets[i].medium).toMatchObject({ type: "ssd", devices: [{ serial: "S4EVNX0" }] });
      expect(record.targets[i].residual.join()).toMatch(/wear levelling.*fstrim/);
      expect(record.targets[i].overwrittenBytes).toBeGreaterThan(100_000);
      expect(statSync(path).blocks).toBe(0);
    }
  });

  it("a device on an SSD is discarded (needs root)", async () => {
    const loop = (await must("losetup", ["--find", "--show", disk])).trim();
    try {
      await define("mail", UUID, fileDisk(loop, "raw").replace("type='file'", "type='block'").replace("file=", "dev="));
      const id = await migrate();
      const done = work(id, "", { SSD: numberOf(statSync(loop).rdev) });
      expect(done.status, done.stderr).toBe(0);
      const { targets, advice } = JSON.parse(done.stdout);
      expect(targets[0]).toMatchObject({ discard: "discarded", verdict: "warn", medium: { whole: true } });
      expect(advice[0]).toMatch(/is a whole SSD: only its firmware reaches all cells/);
      expect(statSync(disk).blocks).toBe(0);
    } finally {
      await must("losetup", ["-d", loop]);
    }
  });

  it("every disk that was moved, each by its name; a disk that both guests have is left, and said", async () => {
    const [second, third] = [at("mail-b.raw"), at("mail-c.raw")];
    for (const path of [second, third]) {
      await must("truncate", ["-s", "8M", path]);
      await must("mke2fs", ["-q", "-t", "ext4", "-F", "-L", "secret-label", path]);
    }
    daemon.handOver(second, third);
    const kept = readFileSync(third);
    const disks = [fileDisk(disk, "raw"), fileDisk(second, "raw", "vdb"), fileDisk(third, "raw", "vdc")];
    const variables = at("mail_VARS.fd");
    writeFileSync(variables, "secret boot entries");
    daemon.handOver(variables);
    const firmware = `<loader readonly='yes' type='pflash'>/usr/share/none.fd</loader><nvram>${variables}</nvram>`;
    writeFileSync(at("mail.xml"), qemuDomain("mail", UUID, disks.join("")).replace("<boot ", `${firmware}<boot `));
    await daemon.virsh("define", at("mail.xml"));
    const places = ["vda", "vdb"].flatMap((d) => ["--disk", d, "--to-file", `${d}=${at(`mail-${d}.luks`)}`]);
    const moved = await cli("migrate", "vm:mail", ...places, "--target-key-file", key, ...CHEAP_LUKS1, "--no-prompt");
    expect(moved.code, moved.stderr).toBe(0);
    const retire = (...names: string[]) =>
      cli("retire", "vm:mail", "--i-know", "--json", ...names.flatMap((n) => ["--yes-destroy", n]));
    expect((await retire("mail.raw")).stderr).toMatch(/mail-b\.raw was not named: nothing was destroyed/);
    expect(readFileSync(second).includes("secret-label")).toBe(true);
    const r = await retire("mail.raw", "mail-b.raw");
    expect(r.code, r.stderr).toBe(0);
    const record = JSON.parse(r.stdout.toString());
    expect(record.targets.map((t: { disk: { name: string } | null; role: string }) => t.disk?.name ?? t.role)).toEqual([
      "vda",
      "vdb",
      "firmware-variables",
    ]);
    expect([existsSync(variables), await guests()]).toEqual([false, ["mail-luks"]]);
    expect(await daemon.virsh("dumpxml", "mail-luks")).toMatch(/<nvram[^>]*>.*_mail_VARS\.fd</);
    expect(record).toMatchObject({ verdict: "warn", left: [expect.stringContaining("disk vdc was not moved")] });
    expect([existsSync(disk), existsSync(second), readFileSync(third).equals(kept)]).toEqual([false, false, true]);
  });

  it("LUKS from the first write loses its keys, header and every backup of that", async () => {
    const luks = at("mail-old.luks");
    await toLuks1(sound.disks[0]!, luks, key);
    daemon.handOver(luks);
    await define("mail", UUID, fileDisk(luks, "raw"));
    const kept = await unterbau(["header", "backup", luks, "--json"], { env });
    const [{ file: backup }] = JSON.parse(kept.stdout.toString()).backups;
    const payload = readFileSync(luks).subarray(2 * 1024 * 1024 + 4096);
    const id = await migrate("--key-file", key);
    const more = { LUKS: "1", KEEP: "1" };
    for (const point of ["erase", "segment"]) expect(work(id, point, more).signal).toBe("SIGKILL");
    const done = work(id, "", more);
    expect(done.status, done.stderr).toBe(0);
    const record = JSON.parse(done.stdout);
    expect(record.tools[0].argv.slice(0, 2)).toEqual(["cryptsetup", "luksErase"]);
    expect(record.targets[0]).toMatchObject({ method: "luks-erase", wasPlaintext: false, length: 2 * 1024 * 1024 });
    expect(record.targets[1]).toMatchObject({ role: "header-backup", path: backup, removed: true });
    expect(opens(luks, key)).toBe(false);
    expect(existsSync(backup)).toBe(false);
    expect((await run("cryptsetup", ["isLuks", luks])).code).not.toBe(0);
    const now = readFileSync(luks);
    // One pass over the header's area, and what only its keys could read is left.
    expect(now.subarray(2 * 1024 * 1024 + 4096).equals(payload)).toBe(true);
    expect(now.subarray(0, 2 * 1024 * 1024).includes(Buffer.alloc(4096))).toBe(false);
  });

  it("killed at any point goes on from there, and is never shown as whole", async () => {
    const id = await migrate("--replace");
    const progress = () => readFileSync(at(`state/retirements/${id}.progress`), "utf8");
    const points = ["begun", "segment", "segment2", "writing", "verify", "destroyed", "undefined", "removed"];
    for (const point of points) {
      const died = work(id, point);
      expect(`${point} ${died.signal} ${died.stderr}`).toBe(`${point} SIGKILL `);
      expect((await cli("migrate", "--list")).stdout.toString()).toContain("partly destroyed");
      expect((await cli("retire", "--list")).stdout.toString()).toMatch(/not ended: --resume/);
      const rollback = await cli("migrate", "--rollback", id, "--force", "--no-prompt");
      expect(rollback.stderr).toContain("cannot be taken back");
      const list = JSON.parse((await cli("list", "--json")).stdout.toString());
      const old = list.guests.find((g: { name: string }) => g.name === "mail-plain");
      if (points.indexOf(point) < points.indexOf("undefined"))
        expect(old.disks[0]).toMatchObject({ problem: expect.stringContaining("destroyed in part"), lastCheck: null });
      else expect(old).toBeUndefined();
      const copy = list.guests.find((g: { name: string }) => g.name === "mail");
      expect(copy.migration).toMatchObject({ partner: { name: "mail-plain" }, oldDisk: "destroyed-in-part" });
      expect(existsSync(disk)).toBe(point !== "removed");
      if (point === "writing") expect(progress().match(/"segment"/g)!.length).toBeGreaterThanOrEqual(2);
      if (point === "destroyed") expect(has(disk)).toBe(false);
    }
    const done = await cli("retire", "--resume", id, "--json");
    expect(done.code, done.stderr).toBe(0);
    const record = JSON.parse(done.stdout.toString());
    expect(record).toMatchObject({ state: "done", undefined: true });
    // Each byte that was allocated once, whoever wrote it.
    const lines = progress()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const segments = lines.filter((l) => l.did === "segment");
    expect(segments.map((s) => s.at)).toEqual([0, 16, 32, 48, 64].map((mib) => mib * 1024 * 1024));
    expect(await guests()).toEqual(["mail"]);
  });

  it("takes libvirt's notes of checkpoints along with the old guest", async () => {
    const image = at("mail.qcow2");
    await must("qemu-img", ["convert", "-O", "qcow2", disk, image]);
    daemon.handOver(image);
    await daemon.virsh("undefine", "mail");
    await define("mail", UUID, fileDisk(image, "qcow2"));
    await daemon.virsh("start", "mail");
    await daemon.virsh("checkpoint-create-as", "mail", "monday");
    await daemon.virsh("destroy", "mail");
    await migrate();
    const refused = await run("virsh", ["-c", daemon.uri, "undefine", "mail"]);
    expect(refused.stderr).toMatch(/checkpoints/);
    const r = await cli("retire", "vm:mail", "--yes-destroy", "mail.qcow2", "--i-know", "--json");
    expect(r.code, r.stderr).toBe(0);
    const { tools } = JSON.parse(r.stdout.toString());
    expect(tools.at(-1).argv).toEqual(["virsh", "undefine", `--domain=${UUID}`, "--checkpoints-metadata"]);
    expect([await guests(), existsSync(image)]).toEqual([["mail-luks"], false]);
  });

  it("refuses what is not certainly the old disk, or is used by another", async () => {
    const retire = (...more: string[]) => cli("retire", "vm:mail", "--yes-destroy", "mail.raw", "--i-know", ...more);
    const whole = readFileSync(disk);
    expect((await retire()).stderr).toMatch(/was not migrated, so its disk is the only one/);
    const id = await migrate();
    expect((await cli("retire", "vm:mail-luks")).stderr).toMatch(/is the new one.*\n.*unterbau retire vm:mail/);
    await define("other", uuidOf(2), fileDisk(disk, "raw"));
    expect((await retire()).stderr).toMatch(/is used by the guest other \(disk vda\)/);
    await daemon.virsh("undefine", "other");
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", at("mail-top.qcow2")]);
    daemon.handOver(at("mail-top.qcow2"));
    await define("other", uuidOf(2), fileDisk(at("mail-top.qcow2"), "qcow2"));
    expect((await retire()).stderr).toMatch(/is used by the guest other \(image below its disk vda\)/);
    await daemon.virsh("undefine", "other");
    expect((await retire()).stderr).toMatch(/the image \S*mail-top\.qcow2 lies on \S*mail\.raw, and no guest names it/);
    // In another folder, that libvirt has as a pool; by a name from there.
    mkdirSync(at("mail-pool"));
    await must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", "../mail.raw", "-F", "raw", at("mail-pool/x.img")]);
    rmSync(at("mail-top.qcow2"));
    daemon.handOver(at("mail-pool"));
    await daemon.virsh("pool-create-as", "mail-pool", "dir", "--target", at("mail-pool"));
    expect((await retire()).stderr).toMatch(
      /the image \S*mail-pool\/x\.img lies on \S*mail\.raw, and no guest names it/,
    );
    await daemon.virsh("pool-destroy", "mail-pool");
    const loop = (await must("losetup", ["--find", "--show", disk])).trim();
    expect((await retire()).stderr).toContain(`it is attached to ${loop}`);
    await must("losetup", ["-d", loop]);
    await daemon.virsh("start", "mail");
    expect((await retire()).stderr).toMatch(/the guest mail is running/);
    await daemon.virsh("destroy", "mail");
    const changed = await retire();
    // Its boot code counts on the disk as soon as it runs; where it had no time for that, somebody else writes.
    if (changed.code === 0) throw new Error("it was destroyed although it had run");
    expect(changed.stderr).toMatch(/it was written to since it was migrated, which would be lost/);
    expect(readFileSync(disk).length).toBe(whole.length);
    writeFileSync(at("mail.new"), whole);
    renameSync(at("mail.new"), disk);
    expect((await retire()).stderr).toMatch(/is another file or device now/);
    expect(readFileSync(disk).equals(whole)).toBe(true);
    expect((await unterbau(["retire", "--list"], { env })).stdout.toString()).toBe("no old disks were destroyed\n");
    const back = await cli("migrate", "--rollback", id, "--force", "--no-prompt");
    expect(back.code, back.stderr).toBe(0);
  });
});
