import { describe, expect, it } from "vitest";
import { MD_TRUTH, mdDevices, mdMembers, sha256Of } from "../../../test/helpers/md.ts";
import { plainContext, probeDevice } from "../../../test/helpers/open-context.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Layer } from "../../core/layer.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { mdDriver } from "./driver.ts";

const openSet = (devices: readonly BlockDevice[], writable = false) => mdDriver.open(devices, plainContext(writable));
const codes = (layer: Layer) => layer.info.findings.map((f) => f.code);
const arrayOf = (layer: Layer) => layer.children[0]!.open();
const without = <T>(list: readonly T[], ...left: number[]) => list.filter((_, i) => !left.includes(i));

/** Arrays that are whole and clean: their names begin with the level. */
const WHOLE = Object.keys(MD_TRUTH).filter((name) => /^(linear|raid\d+)/.test(name));

describe("arrays that Linux made", () => {
  it.each(WHOLE)("%s: every byte as the kernel reads it", async (name) => {
    const truth = MD_TRUTH[name]!;
    const devices = mdDevices(mdMembers(name));
    for (const device of devices) {
      const hit = await probeDevice(mdDriver, device);
      expect(hit?.setId?.replaceAll("-", "")).toBe(`md:${truth.uuid.replaceAll(":", "")}`);
    }
    const layer = await openSet([...devices].reverse());
    expect(layer.info.details).toMatchObject({
      level: truth.level,
      mdadmUuid: truth.uuid,
      state: "clean",
      readOnly: null,
    });
    expect(layer.info.findings).toEqual([]);
    const array = await arrayOf(layer);
    expect(array.size).toBe(truth.size);
    expect(await sha256Of(array)).toBe(truth.sha256);
  });

  const redundant = WHOLE.filter((name) => !/^(linear|raid0)/.test(name));
  it.each(redundant)("%s: the same without any one member, and RAID6 without any two", async (name) => {
    const { sha256 } = MD_TRUTH[name]!;
    const members = mdMembers(name);
    const losses = members.map((_, i) => [i]);
    if (name.startsWith("raid6")) {
      for (let a = 0; a < members.length; a++) for (let b = a + 1; b < members.length; b++) losses.push([a, b]);
    }
    for (const lost of losses) {
      const layer = await openSet(mdDevices(without(members, ...lost)));
      expect(codes(layer)).toContain("md-member-missing");
      expect(await sha256Of(await arrayOf(layer)), `without ${lost}`).toBe(sha256);
    }
  });

  it.each(WHOLE)(
    "%s: writing what is there leaves every member as the kernel wrote it, parity included",
    async (name) => {
      const members = mdMembers(name);
      const before = mdMembers(name);
      const array = await arrayOf(await openSet(mdDevices(members), true));
      const content = await readBytes(array, 0, array.size);
      // Pieces that are no multiple of anything, so that rows are written in part; overwritten first, so that the bytes do change.
      for (let at = 0; at < array.size; at += 61_456) {
        const piece = content.subarray(at, Math.min(array.size, at + 61_456));
        await array.write(
          piece.map((byte) => byte ^ 0x5a),
          at,
        );
      }
      expect(members.some((bytes, i) => Buffer.compare(bytes, before[i]!) !== 0)).toBe(true);
      for (let at = 0; at < array.size; at += 31_000)
        await array.write(content.subarray(at, Math.min(array.size, at + 31_000)), at);
      for (const [i, bytes] of members.entries()) expect(Buffer.compare(bytes, before[i]!), `member ${i}`).toBe(0);
    },
  );

  it("raid0 and linear without a member cannot be opened, and say so", async () => {
    for (const name of ["linear", "raid0"]) {
      const layer = await openSet(mdDevices(without(mdMembers(name), 1)));
      expect(layer.children[0]!.unavailable).toContain("device 1 of 3 missing");
      await expect(arrayOf(layer)).rejects.toMatchObject({ code: "io" });
    }
  });

  it("raid0 with members of different size is refused when nothing says which layout it has", async () => {
    // The feature bit says that the layout field counts; without it the kernel refuses too.
    const members = mdMembers("raid0-original");
    for (const bytes of members) {
      const dv = new DataView(bytes.buffer, 4096, 4096);
      dv.setUint32(8, dv.getUint32(8, true) & ~4096, true);
      dv.setUint32(216, dv.getUint32(216, true) - 4096, true);
    }
    const layer = await openSet(mdDevices(members));
    expect(layer.children[0]!.unavailable).toContain("raid0.default_layout");
    await expect(arrayOf(layer)).rejects.toMatchObject({ code: "unsupported", feature: "raid0 layout" });
  });
});

describe("metadata 0.90 of a big-endian machine", () => {
  it("is read as mdadm's byte order conversion leaves it", async () => {
    const members = mdMembers("raid5-090");
    for (const bytes of members) {
      const at = Math.floor(bytes.length / 65536) * 65536 - 65536;
      const dv = new DataView(bytes.buffer, at, 4096);
      const words = Array.from({ length: 1024 }, (_, i) => dv.getUint32(i * 4, true));
      // The halves of 64-bit numbers change places (md_p.h: events_hi comes first on such machines).
      for (const [a, b] of [
        [39, 40],
        [41, 42],
      ] as const)
        [words[a], words[b]] = [words[b]!, words[a]!];
      words.forEach((word, i) => {
        dv.setUint32(i * 4, word);
      });
    }
    const layer = await openSet(mdDevices(members), true);
    expect(layer.info.details.state).toBe("clean");
    expect(await sha256Of(await arrayOf(layer))).toBe(MD_TRUTH["raid5-090"]!.sha256);
  });
});

describe("superblocks that must not be believed", () => {
  it("a wrong checksum, a size beyond the device, an unknown feature", async () => {
    const changed = (name: string, change: (dv: DataView) => void) => {
      const bytes = mdMembers(name)[0]!;
      change(new DataView(bytes.buffer, 4096, 4096));
      return memoryDevice(bytes);
    };
    const broken = changed("raid1-12", (dv) => dv.setUint32(92, 3, true));
    const hit = await probeDevice(mdDriver, broken);
    expect(hit).toMatchObject({ setId: null, member: { kind: "md-member" } });
    expect(hit!.member!.findings[0]).toMatchObject({ severity: "error", code: "md-superblock-damaged", offset: 4096 });
    await expect(openSet([broken])).rejects.toMatchObject({ code: "corrupt", layer: "md" });

    const cut = memoryDevice(mdMembers("raid1-12")[0]!.subarray(0, 200 * 1024));
    await expect(openSet([cut])).rejects.toMatchObject({ code: "corrupt" });

    const feature = changed("raid1-12", (dv) => {
      dv.setUint32(8, dv.getUint32(8, true) + 0x4000, true);
      dv.setUint32(216, dv.getUint32(216, true) + 0x4000, true);
    });
    const layer = await openSet([feature]);
    await expect(arrayOf(layer)).rejects.toMatchObject({ code: "unsupported", feature: "0x4000" });
  });

  it("numbers from hostile metadata end in an error, not in memory or time", async () => {
    for (const [field, value] of [
      [72, 0x7fffffff],
      [76, 0xffffffff],
      [88, 0xffffffff],
      [88, 3],
      [92, 0],
      [92, 0xffffffff],
    ] as const) {
      for (const name of ["raid5-left-symmetric", "raid10-f2", "raid0", "linear"]) {
        const members = mdMembers(name);
        for (const bytes of members) {
          const dv = new DataView(bytes.buffer, 4096, 4096);
          const delta = value - dv.getUint32(field, true);
          dv.setUint32(field, value, true);
          // Carries come back in: the sum is that of the words modulo 2^32 - 1, nearly (calc_sb_1_csum).
          let sum = 0;
          dv.setUint32(216, 0, true);
          const length = 256 + 2 * dv.getUint32(220, true);
          for (let at = 0; at + 4 <= length; at += 4) sum += dv.getUint32(at, true);
          dv.setUint32(216, (sum % 2 ** 32) + Math.floor(sum / 2 ** 32), true);
          expect(delta).not.toBe(0);
        }
        const layer = await openSet(mdDevices(members));
        const array = await arrayOf(layer).catch((e: unknown) => e);
        if (array instanceof Error) expect(array).toBeInstanceOf(StorageError);
        else await readBytes(array as BlockDevice, 0, Math.min(65536, (array as BlockDevice).size));
      }
    }
  });

  it("an old superblock of the last partition of a GPT is not the disk's", async () => {
    const member = mdMembers("raid1-090")[0]!;
    const disk = new Uint8Array(1024 * 1024 + member.length);
    disk.set(member, 1024 * 1024);
    disk.set([0x55, 0xaa], 510);
    disk[446 + 4] = 0xee;
    // UEFI 2.10, 5.3.2 and 5.3.3: PartitionEntryLBA, SizeOfPartitionEntry; StartingLBA and EndingLBA of the first entry.
    disk.set(Buffer.from("EFI PART"), 512);
    const dv = new DataView(disk.buffer);
    dv.setBigUint64(512 + 72, 2n, true);
    dv.setUint32(512 + 84, 128, true);
    expect((await probeDevice(mdDriver, memoryDevice(disk)))?.setId).toMatch(/^md:/);
    dv.setBigUint64(1024 + 32, 2048n, true);
    dv.setBigUint64(1024 + 40, BigInt(disk.length / 512 - 1), true);
    expect(await probeDevice(mdDriver, memoryDevice(disk))).toBeNull();
  });

  it("an old superblock of the last partition is not the disk's", async () => {
    const member = mdMembers("raid1-090")[0]!;
    const disk = new Uint8Array(1024 * 1024 + member.length);
    disk.set(member, 1024 * 1024);
    expect((await probeDevice(mdDriver, memoryDevice(disk)))?.setId).toMatch(/^md:/);
    // sfdisk's MBR entry: type fd from sector 2048 to the end.
    const entry = new DataView(disk.buffer, 446, 16);
    entry.setUint8(4, 0xfd);
    entry.setUint32(8, 2048, true);
    entry.setUint32(12, member.length / 512, true);
    disk.set([0x55, 0xaa], 510);
    expect(await probeDevice(mdDriver, memoryDevice(disk))).toBeNull();
  });
});
