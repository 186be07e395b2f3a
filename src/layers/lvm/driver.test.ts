import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fixChecksums, lvText, metadataText, PV_ID, pvImage, striped } from "../../../test/helpers/lvm-image.ts";
import { plainContext, probeDevice } from "../../../test/helpers/open-context.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { lvmDriver } from "./driver.ts";

const ONE = lvText("one", [striped(0, 4, [["pv0", 0]])]);
const open = (disks: Uint8Array[], limits = {}, writable = false) =>
  lvmDriver.open(
    disks.map((d) => memoryDevice(d)),
    plainContext(writable, limits),
  );
const openText = (logical: string, options = {}) => open([pvImage(metadataText(logical, options))]);
const reasons = async (logical: string, options = {}) =>
  Object.fromEntries((await openText(logical, options)).children.map((c) => [c.name, c.unavailable]));

describe("physical volumes with right checksums that lie", () => {
  it("accepts the good one", async () => {
    const layer = await openText(ONE);
    expect(layer.info.findings).toEqual([]);
    expect(layer.children.map((c) => [c.name, c.offset, c.size, c.unavailable])).toEqual([
      ["one", 131072, 16384, null],
    ]);
  });

  const AREA = 4096;
  const cases: readonly (readonly [string, (disk: Buffer) => void])[] = [
    ["a text outside its area", (d) => d.writeBigUInt64LE(1n << 40n, AREA + 40)],
    ["a text in the area's header", (d) => d.writeBigUInt64LE(8n, AREA + 40)],
    ["a text larger than its area", (d) => d.writeBigUInt64LE(70000n, AREA + 48)],
    ["a text of 2^63 bytes", (d) => d.writeBigUInt64LE(1n << 63n, AREA + 48)],
    ["a text with another checksum", (d) => d.writeUInt32LE(1, AREA + 56)],
    ["an area of 2^60 bytes", (d) => d.writeBigUInt64LE(1n << 60n, AREA + 32)],
    ["an area that stands elsewhere", (d) => d.writeBigUInt64LE(8192n, AREA + 24)],
    ["an area of version 2", (d) => d.writeUInt32LE(2, AREA + 20)],
    ["an area without magic", (d) => d.fill(0, AREA + 4, AREA + 20)],
  ];
  for (const [name, change] of cases) {
    it(`is corrupt with ${name}, and the probe says so`, async () => {
      const disk = pvImage(metadataText(ONE));
      change(disk);
      fixChecksums(disk);
      const hit = await probeDevice(lvmDriver, memoryDevice(disk));
      expect(hit!.setId).toBe(`lvm-orphan:${PV_ID(0)}`);
      expect(hit!.member!.findings.map((f) => f.code)).toEqual(["lvm-metadata-damaged"]);
      await expect(open([disk])).rejects.toMatchObject({ code: "corrupt", layer: "lvm" });
    });
  }

  const labels: readonly (readonly [string, (disk: Buffer) => void])[] = [
    ["another sector's number", (d) => d.writeBigUInt64LE(2n, 512 + 8)],
    ["contents outside the sector", (d) => d.writeUInt32LE(500, 512 + 20)],
    ["lists that never end", (d) => d.fill(1, 584, 1024)],
    ["a UUID that is none", (d) => d.fill(0x2f, 544, 576)],
    ["a size beyond 2^53", (d) => d.writeBigUInt64LE(1n << 60n, 576)],
  ];
  for (const [name, change] of labels) {
    it(`shows a label with ${name} as damaged`, async () => {
      const disk = pvImage(metadataText(ONE));
      change(disk);
      fixChecksums(disk);
      const hit = await probeDevice(lvmDriver, memoryDevice(disk));
      expect(hit).toMatchObject({ setId: null, member: { kind: "lvm-pv", findings: [{ code: "lvm-label-damaged" }] } });
      await expect(open([disk])).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  it("does not take an old label for a PV when its checksum is wrong and the metadata area is gone", async () => {
    const disk = pvImage(metadataText(ONE));
    disk.fill(0, 4096, 8192);
    disk[600] = 0xff;
    expect(await probeDevice(lvmDriver, memoryDevice(disk))).toBeNull();
  });

  it("does not read more text or segments than the limits", async () => {
    const disk = pvImage(metadataText(ONE));
    await expect(open([disk], { lvmMetadataBytes: 100 })).rejects.toMatchObject({ code: "limit" });
    await expect(open([disk], { lvmSegments: 0 })).rejects.toMatchObject({ code: "limit" });
    await expect(open([disk], { lvmValues: 40 })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringContaining("--limit lvmValues=") as string,
    });
  });

  it("is read-only when two disks disagree under one sequence number", async () => {
    const logical = lvText("both", [striped(0, 4, [["pv0", 0]]), striped(4, 4, [["pv1", 0]])]);
    const other = `${logical} ${lvText("more", [striped(0, 1, [["pv0", 9]])])}`;
    const disks = [pvImage(metadataText(logical, { pvs: 2 }), 0), pvImage(metadataText(other, { pvs: 2 }), 1)];
    const layer = await open(disks, {}, true);
    expect(layer.info.findings.map((f) => f.code)).toEqual(["lvm-metadata-conflict"]);
    expect((await layer.children[0]!.open()).caps.writable).toBe(false);
  });

  it("reads nothing beyond a disk that was cut", async () => {
    const layer = await open([pvImage(metadataText(ONE)).subarray(0, 136 * 1024)]);
    expect(layer.info.findings.map((f) => f.code)).toEqual(["lvm-pv-too-small"]);
    expect(layer.children[0]!.unavailable).toMatch(/beyond the end of physical volume/);
  });
});

describe("groups that make no sense", () => {
  const broken: readonly (readonly [string, string])[] = [
    ["no extent size", ""],
    ["an extent size of 0", "extent_size = 0"],
    ["an extent size beyond 2^53", "extent_size = 9007199254740991"],
    ["an extent size that is a string", 'extent_size = "8"'],
  ];
  for (const [name, head] of broken) {
    it(`is corrupt with ${name}`, async () => {
      await expect(openText(ONE, { head })).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  it("is corrupt with names that could lead elsewhere", async () => {
    for (const name of ["a/b", "-rf", "é", "x".repeat(128)]) {
      await expect(openText(lvText(name, [striped(0, 1, [["pv0", 0]])]))).rejects.toMatchObject({ code: "corrupt" });
    }
  });
});

describe("logical volumes that make no sense", () => {
  const bad: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["a gap", [striped(0, 1, [["pv0", 0]]), striped(2, 1, [["pv0", 1]])], /starts at extent 2/],
    ["an overlap", [striped(0, 2, [["pv0", 0]]), striped(1, 1, [["pv0", 5]])], /starts at extent 1/],
    ["a late start", [striped(1, 1, [["pv0", 0]])], /starts at extent 1/],
    ["no extents", [striped(0, 0, [["pv0", 0]])], /extent_count is 0/],
    ["an extent beyond the PV", [striped(0, 1, [["pv0", 16]])], /beyond the last extent of pv0/],
    ["an unknown PV", [striped(0, 1, [["pv9", 0]])], /neither a physical nor a logical volume/],
    ["the same extents twice", [striped(0, 2, [["pv0", 0]]), striped(2, 2, [["pv0", 1]])], /extents with itself/],
    [
      "uneven stripes",
      [
        striped(0, 3, [
          ["pv0", 0],
          ["pv0", 5],
        ]),
      ],
      /cannot be spread/,
    ],
    [
      "stripes larger than their extents",
      [
        striped(
          0,
          2,
          [
            ["pv0", 0],
            ["pv0", 5],
          ],
          16,
        ),
      ],
      /do not fill/,
    ],
    ["itself below", [striped(0, 1, [["bad", 0]])], /made of itself/],
    ["no segments", [], /has no segments/],
    ["an unknown type", ['start_extent = 0 extent_count = 1 type = "vdo"'], /segment type vdo is not supported/],
    ["a type with a flag", ['start_extent = 0 extent_count = 1 type = "striped+NEW"'], /segment type striped\+NEW/],
  ];
  for (const [name, segments, reason] of bad) {
    it(`refuses only the one with ${name}`, async () => {
      const result = await reasons(`${lvText("bad", segments)} ${lvText("good", [striped(0, 1, [["pv0", 15]])])}`);
      expect(result.bad).toMatch(reason);
      expect(result.good).toBeNull();
    });
  }

  it("refuses both volumes that claim the same extents", async () => {
    const a = lvText("a", [striped(0, 8, [["pv0", 0]])]);
    const b = lvText("b", [striped(0, 1, [["pv0", 7]])]);
    const result = await reasons(`${a} ${b} ${ONE.replaceAll("one", "c").replace('"pv0", 0', '"pv0", 8')}`);
    expect(result).toEqual({ a: expect.stringMatching(/with b$/), b: expect.stringMatching(/with a$/), c: null });
  });

  it("refuses an unknown status flag, and two snapshots that are merged into one origin", async () => {
    expect((await reasons(lvText("a", [striped(0, 1, [["pv0", 0]])], '"READ", "WRITE", "VISIBLE", "NEW"'))).a).toMatch(
      /NEW/,
    );
    const link = (n: number) =>
      lvText(`snapshot${n}`, [
        `start_extent = 0 extent_count = 4 type = "snapshot" origin = "one" merging_store = "cow${n}"`,
      ]);
    const cow = (n: number) => lvText(`cow${n}`, [striped(0, 1, [["pv0", 8 + n]])]);
    expect((await reasons(`${ONE} ${cow(0)} ${link(0)}`)).one).toBeNull();
    expect((await reasons(`${ONE} ${cow(0)} ${link(0)} ${cow(1)} ${link(1)}`)).one).toMatch(/cow0 and cow1 are both/);
  });

  it("opens what has an error segment, and fails where it is read", async () => {
    const error = 'start_extent = 1 extent_count = 1 type = "error"';
    const layer = await openText(lvText("half", [striped(0, 1, [["pv0", 0]]), error]));
    const device = await layer.children[0]!.open();
    await device.read(new Uint8Array(4096), 0);
    await expect(device.read(new Uint8Array(1), 4096)).rejects.toMatchObject({ code: "io" });
    expect(device.caps.writable).toBe(false);
  });

  it("opens volumes that are stacked widely in little time, and refuses what is stacked too deep", async () => {
    const level = (n: number, below: string, extents: number) =>
      lvText(`l${n}`, [striped(0, extents, [[below, 0]]), striped(extents, extents, [[below, 0]])]);
    const levels = Array.from({ length: 14 }, (_, i) => level(i + 1, i === 0 ? "one" : `l${i}`, 4 * 2 ** i));
    const layer = await openText([ONE, ...levels].join(" "));
    const top = await layer.children.at(-1)!.open();
    expect(top.size).toBe(16384 * 2 ** 14);
    expect(top.caps.writable).toBe(false);
    await top.read(new Uint8Array(100), top.size - 100);
    const tower = Array.from({ length: 40 }, (_, i) =>
      lvText(`t${i}`, [striped(0, 4, [[i === 39 ? "one" : `t${i + 1}`, 0]])]),
    );
    expect((await reasons([ONE, ...tower].join(" "))).t0).toMatch(/stacked more than 16 deep/);
  });

  it("opens or refuses any numbers", async () => {
    const n = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(0xffffffff, Number.MAX_SAFE_INTEGER));
    const area = fc.tuple(fc.constantFrom("pv0", "pv1", "a", "b"), n);
    const segment = fc
      .tuple(n, n, fc.array(area, { minLength: 1, maxLength: 3 }), n)
      .map(([start, count, areas, size]) => striped(start, count, areas, size));
    const lvs = fc.tuple(fc.array(segment, { maxLength: 3 }), fc.array(segment, { maxLength: 3 }));
    await fc.assert(
      fc.asyncProperty(lvs, async ([a, b]) => {
        try {
          const layer = await openText(`${lvText("a", a)} ${lvText("b", b)}`, { pvs: 2 });
          for (const child of layer.children) {
            if (child.unavailable !== null) continue;
            const device = await child.open();
            await device.read(new Uint8Array(16), device.size - 16);
          }
        } catch (error) {
          expect(error).toMatchObject({ name: "StorageError", code: "corrupt" });
        }
      }),
      { numRuns: 80 },
    );
  });
});
