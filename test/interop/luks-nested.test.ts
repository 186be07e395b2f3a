import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { check } from "../../src/usecases/check.ts";
import { inspect } from "../../src/usecases/inspect.ts";
import { readVolume } from "../../src/usecases/read.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { passphrases } from "../helpers/keys.ts";
import { LvmHost } from "../helpers/lvm.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";
import { QemuLuks, qemuCreate } from "./luks-tools.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
const file = (name: string) => join(folder.path, name);
const disk = file("outer.img");
const keys = () => passphrases(["of the host", "of the guest"]);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const stateBefore = process.env.UNTERBAU_STATE_DIR;
let root: Buffer;
let extent = 0;

/** LUKS over a physical volume, whose logical volume holds LUKS over ext4: made by QEMU, lvm2 and mke2fs. */
beforeAll(() => {
  process.env.UNTERBAU_STATE_DIR = file("state");
  writeFileSync(file("host.key"), "of the host");
  writeFileSync(file("guest.key"), "of the guest");
  sparseFile(file("root"), 8 * MIB);
  run("mke2fs", "-q", "-F", "-t", "ext4", "-d", "docs", file("root"));
  run("debugfs", "-w", "-R", "ssv free_blocks_count 17", file("root"));
  root = readFileSync(file("root"));
  qemuCreate(file("inner.img"), file("guest.key"), [], root.length);
  new QemuLuks(file("inner.img"), file("guest.key")).write(folder.path, root);

  using lvm = new LvmHost(folder.path);
  const pv = lvm.disk("pv", 24 * MIB);
  lvm.run("pvcreate", "-q", "-ff", "-y", "--dataalignment", "1m", pv);
  lvm.run("vgcreate", "-q", "-s", "1m", "vg", pv);
  lvm.lvcreate("-n", "crypt", "-L", "16m", "vg");
  const [row] = lvm.report("pvs", "pe_start,pvseg_start,seg_start", "--segments", "-S", "lv_name=crypt");
  extent = Number(row!.pe_start) + Number(row!.pvseg_start) * MIB;
  lvm.detach(pv);
  const fd = openSync(pv, "r+");
  writeSync(fd, readFileSync(file("inner.img")), 0, undefined, extent);
  closeSync(fd);
  const bytes = readFileSync(pv);
  qemuCreate(disk, file("host.key"), [], bytes.length);
  new QemuLuks(disk, file("host.key")).write(folder.path, bytes);
});
afterAll(() => {
  if (stateBefore === undefined) delete process.env.UNTERBAU_STATE_DIR;
  else process.env.UNTERBAU_STATE_DIR = stateBefore;
  folder.remove();
});

async function innermost(): Promise<Buffer> {
  const out: Uint8Array[] = [];
  await readVolume({ sources: [disk], keys: keys(), volume: "vg/crypt" }, async (bytes) => {
    out.push(Uint8Array.from(bytes));
  });
  return Buffer.concat(out);
}

describe("a guest's LUKS in its LVM in the host's LUKS", () => {
  it("is opened with both keys, byte for byte what was written into it", async () => {
    const doc = await inspect({ sources: [disk], keys: keys() });
    expect(doc.volumes).toMatchObject([{ selector: "vg/crypt", kind: "filesystem", type: "ext4", readable: true }]);
    expect(sha256((await innermost()).subarray(0, root.length))).toBe(sha256(root));
  });

  it("is locked, and says so, with the outer key alone", async () => {
    const doc = await inspect({ sources: [disk], keys: passphrases(["of the host"]) });
    expect(doc.volumes).toMatchObject([{ selector: "vg/crypt", kind: "locked", readable: false }]);
  });

  it("is repaired through all of it, as QEMU and e2fsck see, and undone byte for byte", async () => {
    const before = sha256(readFileSync(disk));
    const all = { sources: [disk], keys: keys(), volumes: [], preen: false, force: false, timeoutMs: 60_000 };
    const doc = await check({ ...all, repair: true });
    expect(doc.volumes).toMatchObject([{ verdict: "repaired" }]);
    const pv = new QemuLuks(disk, file("host.key")).read(folder.path);
    writeFileSync(file("inner.img"), pv.subarray(extent, extent + readFileSync(file("inner.img")).length));
    writeFileSync(file("root"), new QemuLuks(file("inner.img"), file("guest.key")).read(folder.path));
    run("e2fsck", "-fn", file("root"));
    await undoRun(doc.run!);
    expect(sha256(readFileSync(disk))).toBe(before);
  });
});
