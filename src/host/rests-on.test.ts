import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deviceOf, type HostDevice, isEncrypted, type KernelFiles } from "./rests-on.ts";

let folder: string;
let kernel: KernelFiles;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-sys-"));
  mkdirSync(join(folder, "dev/block"), { recursive: true });
  kernel = { sys: folder, mountinfo: join(folder, "mountinfo") };
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A device as sysfs has it (Linux, Documentation/ABI/stable/sysfs-block, sysfs-block-dm, admin-guide/md.rst). */
function device(
  name: string,
  number: string,
  files: Record<string, string> = {},
  slaves: readonly string[] = [],
  parent = "",
): void {
  const path = join(folder, "devices", parent, name);
  mkdirSync(join(path, "slaves"), { recursive: true });
  symlinkSync(path, join(folder, "dev/block", number));
  for (const [file, text] of Object.entries({ dev: number, ...files })) {
    mkdirSync(join(path, file, ".."), { recursive: true });
    writeFileSync(join(path, file), `${text}\n`);
  }
  for (const slave of slaves)
    symlinkSync(join(folder, "devices", slave), join(path, "slaves", slave.replace(/.*\//, "")));
}

const chain = (d: HostDevice): string =>
  `${d.kind} ${d.name}${d.below.length > 0 ? `(${d.below.map(chain).join(" ")})` : ""}`;
const mapped = (name: string, uuid: string) => ({ "dm/name": name, "dm/uuid": uuid });

/** Two disks with a partition each, in a mirror. */
function mirror(): void {
  device("sda", "8:0");
  device("sda2", "8:2", { partition: "2" }, [], "sda");
  device("sdb", "8:16");
  device("sdb2", "8:18", { partition: "2" }, [], "sdb");
  device("md0", "9:0", { "md/level": "raid1" }, ["sda/sda2", "sdb/sdb2"]);
}

describe("what a device rests on", () => {
  it("goes down through LVM, dm-crypt and RAID to the disks", () => {
    mirror();
    device("dm-0", "254:0", mapped("luks0", "CRYPT-LUKS2-0123-luks0"), ["md0"]);
    device("dm-1", "254:1", mapped("vg0-web", "LVM-abc"), ["dm-0"]);
    const found = deviceOf("254:1", kernel, 0);
    expect(chain(found)).toBe("lvm dm-1(crypt dm-0(raid1 md0(partition sda2(disk sda) partition sdb2(disk sdb))))");
    expect(found.path).toBe("/dev/mapper/vg0-web");
    expect(isEncrypted(found)).toBe(true);
  });

  it("calls it encrypted only when every way down is", () => {
    device("sda", "8:0");
    device("sdb", "8:16");
    device("dm-0", "254:0", mapped("luks0", "CRYPT-LUKS1-0123-luks0"), ["sda"]);
    // A volume of a group that lies on an encrypted and on a plain disk.
    device("dm-1", "254:1", mapped("vg0-web", "LVM-abc"), ["dm-0", "sdb"]);
    expect(isEncrypted(deviceOf("254:1", kernel, 0))).toBe(false);
    // Sums of the data, no encryption.
    device("dm-2", "254:2", mapped("int", "CRYPT-INTEGRITY-int"), ["sda"]);
    expect(isEncrypted(deviceOf("254:2", kernel, 0))).toBe(false);
    expect(isEncrypted(deviceOf("8:0", kernel, 0))).toBe(false);
  });

  it("ends a loop, and knows nothing of what is not there", () => {
    device("dm-0", "254:0", mapped("a", "LVM-a"), ["dm-1"]);
    device("dm-1", "254:1", mapped("b", "LVM-b"), ["dm-0"]);
    expect(isEncrypted(deviceOf("254:0", kernel, 0))).toBe(false);
    expect(chain(deviceOf("1:1", kernel, 0))).toBe("unknown 1:1");
  });
});
