import { describe, expect, it } from "vitest";
import { deviceConformance } from "../../../test/conformance/suite.ts";
import { contentSha } from "../../../test/helpers/content-sha.ts";
import { fixtureDevices, type LvmFixture, lvmFixture } from "../../../test/helpers/lvm-fixture.ts";
import { plainContext } from "../../../test/helpers/open-context.ts";
import { readBytes } from "../../core/device.ts";
import type { Layer } from "../../core/layer.ts";
import { lvmDriver } from "./driver.ts";

const raid = lvmFixture("raid");
const degraded = lvmFixture("degraded");
const DISKS = [...raid.disks.keys()];
/** Devices of each volume, on the first disks in order (`lvs -o devices`), and how many of them may be missing. */
const VOLUMES: Readonly<Record<string, readonly [devices: number, spare: number]>> = {
  r0: [3, 0],
  r0m: [3, 0],
  r1: [3, 2],
  ...Object.fromEntries(["r4", "r5ls", "r5la", "r5rs", "r5ra", "r5n"].map((name) => [name, [4, 1]])),
  ...Object.fromEntries(
    ["r6zr", "r6nr", "r6nc", "r6n_6", "r6ls_6", "r6la_6", "r6rs_6", "r6ra_6"].map((name) => [name, [5, 2]]),
  ),
};

const copyOf = (f: LvmFixture): LvmFixture => ({
  ...f,
  disks: new Map([...f.disks].map(([n, b]) => [n, Uint8Array.from(b)])),
});
const open = (f: LvmFixture, without: readonly string[] = [], writable = true) =>
  lvmDriver.open(fixtureDevices(f, without), plainContext(writable));
const named = (layer: Layer, name: string) => layer.children.find((c) => c.name === name)!;
const shaOf = (f: LvmFixture, name: string) => f.volumes.find((v) => v.name === name)!.sha256;

/** Where an internal LV of one segment begins: its disk's bytes, and the offset. */
async function placeOf(f: LvmFixture, name: string): Promise<{ disk: Uint8Array; at: number }> {
  const layer = await open(f, [], false);
  const details = layer.info.details as { pvs: { name: string; peStart: number }[]; extentSize: number };
  const { segments } = named(layer, name).info!.details as {
    segments: { areas: { name: string; extent: number }[] }[];
  };
  const [area] = segments[0]!.areas;
  const index = details.pvs.findIndex((pv) => pv.name === area!.name);
  return {
    disk: [...f.disks.values()][index]!,
    at: details.pvs[index]!.peStart + area!.extent * details.extentSize,
  };
}

describe("RAID volumes made by a kernel", () => {
  it("reads every level and layout that lvm2 makes", async () => {
    const layer = await open(raid);
    expect(layer.info.findings).toEqual([]);
    expect(raid.volumes.length).toBe(21);
    for (const { name, size, sha256 } of raid.volumes) {
      const child = named(layer, name);
      expect([name, child.unavailable, child.info!.findings]).toEqual([name, null, []]);
      const device = await child.open();
      expect([name, device.size, await contentSha(device)]).toEqual([name, size, sha256]);
    }
  });

  it("reads with one or two disks missing what can be read, and refuses the rest", async () => {
    const pairs = DISKS.flatMap((a, i) => DISKS.slice(i).map((b) => [a, b]));
    for (const without of pairs) {
      const layer = await open(raid, without);
      for (const [name, [devices, spare]] of Object.entries(VOLUMES)) {
        const lost = new Set(without.filter((disk) => DISKS.indexOf(disk) < devices)).size;
        const child = named(layer, name);
        if (lost > spare) {
          expect([name, without, child.unavailable]).toEqual([name, without, expect.stringMatching(/missing/)]);
          continue;
        }
        // Each level in full once, the many like it by a part.
        const device = await child.open();
        expect([name, without, device.caps.writable]).toEqual([name, without, lost === 0]);
        const codes = child.info!.findings.map((f) => f.code);
        expect([name, without, codes]).toEqual([name, without, lost === 0 ? [] : ["lvm-raid-degraded"]]);
        if (lost > 0) expect([name, without, await contentSha(device)]).toEqual([name, without, shaOf(raid, name)]);
      }
    }
  }, 60_000);

  it("leaves out a disk that was away while the others were written to", async () => {
    for (const without of [[], ["pb"]]) {
      const layer = await open(degraded, without);
      for (const { name, sha256 } of degraded.volumes) {
        const child = named(layer, name);
        const device = await child.open();
        expect([name, await contentSha(device)]).toEqual([name, sha256]);
        expect(device.caps.writable).toBe(false);
        expect(child.info!.findings.map((f) => f.code)).toEqual(["lvm-raid-degraded"]);
        expect(child.info!.details.readOnly).toBe("the array is degraded");
      }
    }
    const alone = await open(degraded, ["pa", "pc", "pd", "pe"]);
    for (const name of ["r5", "r6", "r10"]) expect(named(alone, name).unavailable).toMatch(/missing/);
    // Half a mirror knows of no other half that is newer: it is read, and called degraded.
    expect(named(alone, "r1").info!.findings.map((f) => f.code)).toEqual(["lvm-raid-degraded"]);
  });

  it("takes a disk that was cut for one that is missing", async () => {
    const f = copyOf(raid);
    const { at } = await placeOf(f, "r5ls_rimage_1");
    const disks = new Map([...f.disks].map(([n, b]) => [n, n === "pb" ? b.subarray(0, at + 4096) : b]));
    const layer = await open({ ...f, disks });
    for (const name of ["r5ls", "r6nc", "r10"]) {
      expect(named(layer, name).info!.findings.map((x) => x.code)).toEqual(["lvm-raid-degraded"]);
      expect(await contentSha(await named(layer, name).open())).toBe(shaOf(raid, name));
    }
    expect(named(layer, "r1").info!.findings).toEqual([]);
  });

  it("keeps all copies and parity right when it writes: any disk may go missing afterwards", async () => {
    const f = copyOf(raid);
    const layer = await open(f);
    const expected = new Map<string, Buffer>();
    for (const name of Object.keys(VOLUMES).concat("r10", "r10b")) {
      const device = await named(layer, name).open();
      const bytes = Buffer.alloc(70_000, name);
      await device.write(bytes, 12_345);
      await device.flush();
      expected.set(name, Buffer.from(await readBytes(device, 0, device.size)));
      expect(Buffer.compare(expected.get(name)!.subarray(12_345, 82_345), bytes)).toBe(0);
    }
    for (const disk of DISKS) {
      const again = await open(f, [disk], false);
      for (const [name, bytes] of expected) {
        const child = named(again, name);
        if (child.unavailable !== null) continue;
        const device = await child.open();
        expect([disk, name, Buffer.compare(await readBytes(device, 0, 200_000), bytes.subarray(0, 200_000))]).toEqual([
          disk,
          name,
          0,
        ]);
      }
    }
  });
});

describe("what the superblocks say", () => {
  /** Changes the superblock of device `n` of a volume in a copy of the disks. */
  async function changed(
    name: string,
    devices: readonly number[],
    change: (sb: DataView) => void,
  ): Promise<LvmFixture> {
    const f = copyOf(raid);
    for (const n of devices) {
      const { disk, at } = await placeOf(f, `${name}_rmeta_${n}`);
      change(new DataView(disk.buffer, disk.byteOffset + at, 512));
    }
    return f;
  }
  const all = [0, 1, 2, 3];

  it("does not read a device that is being rebuilt", async () => {
    const f = await changed("r5ls", [2], (sb) => sb.setBigUint64(32, 8n, true));
    const { disk, at } = await placeOf(f, "r5ls_rimage_2");
    disk.fill(0x55, at, at + 64 * 1024);
    const child = named(await open(f), "r5ls");
    expect(await contentSha(await child.open())).toBe(shaOf(raid, "r5ls"));
    expect(child.info!.findings[0]!.message).toMatch(/device 2 \(it is being rebuilt\)/);
    expect((await child.open()).caps.writable).toBe(false);
  });

  it("does not read a new device, nor one that LVM split off", async () => {
    const f = await changed("r1", [0], (sb) => sb.setUint32(0, 0, true));
    const { disk, at } = await placeOf(f, "r1_rimage_0");
    disk.fill(0x55, at, at + 64 * 1024);
    const child = named(await open(f), "r1");
    expect(await contentSha(await child.open())).toBe(shaOf(raid, "r1"));
    expect(child.info!.findings[0]!.message).toMatch(/device 0 \(it is new/);
  });

  it("reads data, but calculates nothing, while parity may be wrong", async () => {
    const resync = (sb: DataView) => sb.setBigUint64(40, 0n, true);
    for (const name of ["r5ls", "r6zr"]) {
      const f = await changed(name, name === "r6zr" ? [...all, 4] : all, resync);
      const child = named(await open(f), name);
      expect(await contentSha(await child.open())).toBe(shaOf(raid, name));
      expect(child.info!.findings.map((x) => x.code)).toEqual(["lvm-raid-not-in-sync"]);
      expect((await child.open()).caps.writable).toBe(false);
      const without = named(await open(f, ["pb"]), name);
      expect(without.unavailable).toMatch(/cannot be calculated/);
      await expect(without.open()).rejects.toMatchObject({ code: "unsupported", feature: "dirty degraded array" });
    }
    const mirror = await changed("r1", [0, 1, 2], resync);
    expect(await contentSha(await named(await open(mirror), "r1").open())).toBe(shaOf(raid, "r1"));
  });

  it("takes a set bit of the write-intent bitmap for an array that was not shut down", async () => {
    const f = copyOf(raid);
    const { disk, at } = await placeOf(f, "r10_rmeta_0");
    expect(Buffer.from(disk.subarray(at + 4096, at + 4100)).toString()).toBe("bitm");
    disk[at + 4096 + 256] = 1;
    const child = named(await open(f), "r10");
    expect(await contentSha(await child.open())).toBe(shaOf(raid, "r10"));
    expect(child.info!.details.readOnly).toMatch(/not shut down in order/);
  });

  const refused: readonly (readonly [string, (sb: DataView) => void, object])[] = [
    ["a reshape under way", (sb) => sb.setUint32(60, 1, true), { code: "unsupported", feature: "reshape" }],
    ["another number of devices", (sb) => sb.setUint32(8, 3, true), { code: "unsupported", feature: "reshape" }],
    ["another layout", (sb) => sb.setUint32(52, 0, true), { code: "unsupported", feature: "reshape" }],
    ["another stripe size", (sb) => sb.setUint32(56, 64, true), { code: "unsupported", feature: "reshape" }],
    ["data elsewhere", (sb) => sb.setUint32(96, 64, true), { code: "unsupported", feature: "reshape" }],
    [
      "unknown features",
      (sb) => sb.setUint32(144, 1, true),
      { code: "unsupported", feature: "raid superblock features" },
    ],
    ["another place", (sb) => sb.setUint32(12, 7, true), { code: "corrupt" }],
  ];
  for (const [what, change, error] of refused) {
    it(`refuses ${what}, and leaves the others usable`, async () => {
      const layer = await open(await changed("r5ls", all, change));
      await expect(named(layer, "r5ls").open()).rejects.toMatchObject({ ...error, layer: "lvm" });
      expect(named(layer, "r5la").unavailable).toBeNull();
    });
  }
});

describe("mirrors of the old kind", () => {
  it("reads the second image only when a log on disk says that all is in sync", async () => {
    const layer = await open(raid, ["pa"]);
    expect(await contentSha(await named(layer, "mdisk").open())).toBe(shaOf(raid, "mdisk"));
    expect(named(layer, "mdisk").info!.findings.map((f) => f.code)).toEqual(["lvm-raid-degraded"]);
    expect(named(layer, "mcore").unavailable).toMatch(/no log says/);
    const f = copyOf(raid);
    const { disk, at } = await placeOf(f, "mdisk_mlog");
    expect(Buffer.from(disk.subarray(at, at + 4)).toString()).toBe("rRiM");
    disk[at + 1024] = 0;
    expect(named(await open(f, ["pa"]), "mdisk").unavailable).toMatch(/no log says/);
    expect(named(await open(f), "mdisk").unavailable).toBeNull();
  });
});

deviceConformance(
  "a raid6 volume of LVM",
  async () => {
    const f = copyOf(raid);
    const layer = await open(f);
    const device = await named(layer, "r6nc").open();
    const reopen = async () => named(await open(f), "r6nc").open();
    return { device, content: await readBytes(device, 0, device.size), reopen };
  },
  { runs: 20 },
);
