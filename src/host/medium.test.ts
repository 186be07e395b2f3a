import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mediumOf } from "./medium.ts";
import type { KernelFiles } from "./rests-on.ts";

let folder: string;
let kernel: KernelFiles;
let file: string;
/** `MAJOR:MINOR` of the file system that the test's own file lies in. */
let number: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-medium-"));
  for (const name of ["dev/block", "class/block"]) mkdirSync(join(folder, name), { recursive: true });
  kernel = { sys: folder, mountinfo: join(folder, "mountinfo") };
  file = join(folder, "disk.raw");
  writeFileSync(file, "");
  const { dev } = statSync(file);
  number = `${Math.floor(dev / 256) % 4096}:${(dev % 256) + Math.floor(dev / 2 ** 20) * 256}`;
  mounted("ext4");
});
afterEach(() => rmSync(folder, { recursive: true }));

function mounted(type: string, options = "rw"): void {
  writeFileSync(kernel.mountinfo, `21 1 ${number} / / rw - ${type} /dev/x ${options}\n`);
}

/** Linux, Documentation/ABI/stable/sysfs-block. */
function device(
  place: string,
  at: string,
  files: Record<string, string | Uint8Array>,
  slaves: readonly string[] = [],
): void {
  const path = join(folder, "devices", place);
  const name = place.replace(/.*\//, "");
  mkdirSync(join(path, "slaves"), { recursive: true });
  symlinkSync(path, join(folder, "dev/block", at));
  symlinkSync(path, join(folder, "class/block", name));
  for (const [path_, text] of Object.entries({ dev: at, ...files })) {
    mkdirSync(join(path, path_, ".."), { recursive: true });
    writeFileSync(join(path, path_), typeof text === "string" ? `${text}\n` : text);
  }
  for (const slave of slaves) symlinkSync(join(folder, "devices", slave), join(path, "slaves", slave));
}

/** Block device characteristics (SBC-4, 6.6.2) with this medium rotation rate. */
function vpd(rate: number): Buffer {
  const page = Buffer.alloc(64);
  page.set([0, 0xb1, 0, 0x3c]);
  page.writeUInt16BE(rate, 4);
  return page;
}

describe("what bytes come to rest on", () => {
  it("is a hard disk only when every disk below turns", () => {
    device("sda", "8:0", { "queue/rotational": "1", "device/model": "ST4000", "device/wwid": "naa.5000" });
    device("sdb", "8:16", { "queue/rotational": "1", serial: "S2" });
    device("md0", number, { "md/level": "raid1" }, ["sda", "sdb"]);
    expect(mediumOf(file, kernel)).toEqual({
      type: "hdd",
      devices: [
        { name: "sda", rotational: true, model: "ST4000", serial: null, wwid: "naa.5000" },
        { name: "sdb", rotational: true, model: null, serial: "S2", wwid: null },
      ],
      whole: false,
      doubts: [],
    });
    writeFileSync(join(folder, "devices/sdb/queue/rotational"), "0\n");
    expect(mediumOf(file, kernel).type).toBe("ssd");
  });

  it("is not known where the kernel does not say, and then no hard disk", () => {
    device("sda", number, {});
    expect(mediumOf(file, kernel).type).toBe("unknown");
    rmSync(join(folder, "dev/block", number));
    const nowhere = mediumOf(file, kernel);
    expect([nowhere.type, nowhere.doubts]).toEqual(["unknown", [expect.stringContaining("it is not known where")]]);
  });

  it.each<[what: string, name: string, files: Record<string, string | Uint8Array>, type: string]>([
    ["a virtual machine's", "vda", { "queue/rotational": "1" }, "unknown"],
    [
      "a virtual machine's, by its model",
      "sda",
      { "queue/rotational": "1", "device/model": "QEMU HARDDISK" },
      "unknown",
    ],
    [
      "behind a USB bridge",
      "pci0000:00/usb2/2-1/sdx",
      { "queue/rotational": "1", "device/model": "Expansion" },
      "unknown",
    ],
    ["that reports no rate", "sda", { "queue/rotational": "1", "device/vpd_pgb1": vpd(0) }, "unknown"],
    ["of 7200 turns a minute", "sda", { "queue/rotational": "1", "device/vpd_pgb1": vpd(7200) }, "hdd"],
    ["a virtual machine's that is said not to turn", "vda", { "queue/rotational": "0" }, "ssd"],
  ])("takes nothing for granted: a disk %s", (_, name, files, type) => {
    device(name, number, files);
    expect(mediumOf(file, kernel).type).toBe(type);
  });

  it("reads a serial number out of a SCSI page", () => {
    const page = Buffer.concat([Buffer.from([0, 0x80, 0, 0x24]), Buffer.from("     WD-WCC4N0123456")]);
    device("sda", number, { "queue/rotational": "1", "device/vpd_pg80": page });
    expect(mediumOf(file, kernel).devices[0]?.serial).toBe("WD-WCC4N0123456");
  });

  it.each<[type: string, options: string, doubt: RegExp | null]>([
    ["ext4", "rw", null],
    ["ext3", "rw,data=ordered", null],
    ["vfat", "rw", null],
    ["ext4", "rw,data=journal", /its journal has copies/],
    ["xfs", "rw", /reflink/],
    ["btrfs", "rw", /keeps the old ones/],
    ["zfs", "rw", /keeps the old ones/],
    ["f2fs", "rw", /keeps the old ones/],
    ["nfs4", "rw", /it is not known where nfs4/],
  ])("%s %s", (type, options, doubt) => {
    device("sda", number, { "queue/rotational": "1" });
    mounted(type, options);
    const { doubts } = mediumOf(file, kernel);
    if (doubt === null) expect(doubts).toEqual([]);
    else expect(doubts).toEqual([expect.stringMatching(doubt)]);
  });

  it("goes by what is below device mapper, and doubts what is no plain mapping", () => {
    device("nvme0n1", "259:0", { "queue/rotational": "0", serial: "S4EV", "device/model": "Samsung" });
    device("dm-0", number, { "dm/name": "vdo0", "dm/uuid": "VDO-1" }, ["nvme0n1"]);
    const found = mediumOf(file, kernel);
    expect(found).toMatchObject({ type: "ssd", devices: [{ name: "nvme0n1", serial: "S4EV", model: "Samsung" }] });
    expect(found.doubts).toEqual(["it is not known where /dev/mapper/vdo0 (dm dm-0) puts a changed block"]);
  });
});
