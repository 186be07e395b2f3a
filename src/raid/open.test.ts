import { describe, expect, it } from "vitest";
import { deviceConformance } from "../../test/conformance/suite.ts";
import { type BlockDevice, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { memoryDevice } from "../core/memory-device.ts";
import { RangeSet } from "../core/range-set.ts";
import { PARITY_ALGORITHMS, type ParityAlgorithm, type RaidGeometry, raidSize } from "./geometry.ts";
import type { RaidLeg } from "./legs.ts";
import { openRaid } from "./open.ts";

const CHUNK = 4096;
const LEG = 64 * 1024;

const algorithms = Object.keys(PARITY_ALGORITHMS).map(Number) as ParityAlgorithm[];
const raid10 = (near: number, far: number, offset: boolean, farSet: number): RaidGeometry => ({
  kind: "raid10",
  chunk: CHUNK,
  near,
  far,
  offset,
  farSet,
});

interface Case {
  readonly geometry: RaidGeometry;
  readonly legs: number;
  /** Sets of roles that may be missing together. */
  readonly lose: readonly (readonly number[])[];
}

const singles = (n: number) => Array.from({ length: n }, (_, i) => [i]);
const pairs = (n: number) => singles(n).flatMap(([a]) => singles(n).flatMap(([b]) => (a! < b! ? [[a!, b!]] : [])));

const CASES: readonly Case[] = [
  { geometry: { kind: "linear", chunk: CHUNK }, legs: 3, lose: [] },
  { geometry: { kind: "raid0", chunk: CHUNK, zones: "original" }, legs: 3, lose: [] },
  { geometry: { kind: "raid1" }, legs: 3, lose: [...singles(3), ...pairs(3)] },
  { geometry: { kind: "raid4", chunk: CHUNK }, legs: 4, lose: singles(4) },
  ...algorithms
    .filter((a) => a <= 5)
    .map((algorithm): Case => ({ geometry: { kind: "raid5", chunk: CHUNK, algorithm }, legs: 5, lose: singles(5) })),
  ...algorithms.map(
    (algorithm): Case => ({
      geometry: { kind: "raid6", chunk: CHUNK, algorithm },
      legs: 6,
      lose: [...singles(6), ...pairs(6)],
    }),
  ),
  { geometry: raid10(2, 1, false, 4), legs: 4, lose: [...singles(4), [0, 2], [1, 3]] },
  { geometry: raid10(2, 1, false, 5), legs: 5, lose: [...singles(5), [1, 3]] },
  { geometry: raid10(1, 2, false, 4), legs: 4, lose: [...singles(4), [0, 2]] },
  { geometry: raid10(1, 2, true, 3), legs: 3, lose: singles(3) },
  { geometry: raid10(1, 2, false, 2), legs: 5, lose: singles(5) },
  { geometry: raid10(2, 2, false, 4), legs: 5, lose: [...singles(5), ...pairs(5)] },
];

const nameOf = ({ geometry: g, legs }: Case) => `${JSON.stringify(g)} on ${legs}`;

function make({ geometry, legs }: Case, missing: readonly number[] = [], content?: readonly Uint8Array[]) {
  const bytes = content ?? Array.from({ length: legs }, () => new Uint8Array(LEG));
  const devices = bytes.map((b) => memoryDevice(b));
  const all: (RaidLeg | null)[] = devices.map((device, i) => (missing.includes(i) ? null : { device }));
  const device = openRaid({ layer: "test", geometry, legs: all, legSizes: bytes.map((b) => b.length), writable: true });
  return { device, bytes, devices };
}

function pattern(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = i * 31 + (i >>> 8) * 7 + (i >>> 12) * 13 + seed;
  return out;
}

const codeOf = async (work: Promise<unknown>) =>
  work.then(
    () => "no error",
    (e: unknown) => (e as StorageError).code,
  );

// One of each kind: the layouts differ in where things lie, which the tests below and the kernel's arrays show.
for (const c of new Map(CASES.map((c) => [c.geometry.kind, c])).values()) {
  deviceConformance(
    `raid ${nameOf(c)}`,
    async () => {
      const { device } = make(c);
      const content = pattern(device.size, 1);
      await device.write(content, 0);
      return { device, content };
    },
    { runs: 25 },
  );
}

describe("raid with missing legs", () => {
  for (const c of CASES.filter(({ lose }) => lose.length > 0)) {
    it(`reads, and keeps what is written readable: ${nameOf(c)}`, async () => {
      const whole = make(c);
      const content = pattern(whole.device.size, 3);
      await whole.device.write(content, 0);
      for (const missing of c.lose) {
        const copy = whole.bytes.map((b) => Uint8Array.from(b));
        const { device } = make(c, missing, copy);
        expect(Buffer.compare(await readBytes(device, 0, device.size), content), `missing ${missing}`).toBe(0);
        const model = Uint8Array.from(content);
        for (const [at, length] of [
          [0, 1],
          [CHUNK - 5, 10],
          [3 * CHUNK + 100, 9 * CHUNK],
          [device.size - 700, 700],
        ] as const) {
          const part = pattern(length, at);
          await device.write(part, at);
          model.set(part, at);
        }
        expect(Buffer.compare(await readBytes(device, 0, device.size), model), `written without ${missing}`).toBe(0);
      }
    });
  }

  it("refuses more missing legs than the level bears", () => {
    for (const [c, missing] of [
      [CASES[1]!, [1]],
      [CASES[2]!, [0, 1, 2]],
      [CASES[3]!, [0, 1]],
      [{ geometry: raid10(2, 1, false, 4), legs: 4, lose: [] }, [0, 1]],
      [{ geometry: { kind: "raid6", chunk: CHUNK, algorithm: 2 }, legs: 6, lose: [] }, [0, 1, 2]],
    ] as const) {
      expect(() => make(c, missing)).toThrow(StorageError);
    }
  });
});

/** Reads that touch a bad sector fail, as a disk's do. */
function withBadSectors(device: BlockDevice, sectors: readonly number[]): BlockDevice {
  return {
    ...device,
    size: device.size,
    caps: device.caps,
    async read(into, offset, options) {
      const bad = sectors.some((s) => offset < (s + 1) * 512 && offset + into.length > s * 512);
      if (bad) throw new StorageError("io", "medium error", { layer: "test" });
      await device.read(into, offset, options);
    },
    write: (from, offset, options) => device.write(from, offset, options),
    zero: (offset, length, options) => device.zero(offset, length, options),
    discard: (offset, length) => device.discard(offset, length),
    extents: (offset, length, options) => device.extents(offset, length, options),
    flush: () => device.flush(),
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
  };
}

describe("raid with bad sectors", () => {
  for (const geometry of [
    { kind: "raid1" },
    raid10(2, 1, false, 4),
    { kind: "raid5", chunk: 16 * 1024, algorithm: 2 },
    { kind: "raid6", chunk: 16 * 1024, algorithm: 10 },
  ] as const) {
    it(`reads around one bad sector on each leg: ${JSON.stringify(geometry)}`, async () => {
      const whole = make({ geometry, legs: 4, lose: [] });
      const content = pattern(whole.device.size, 9);
      await whole.device.write(content, 0);
      const hurt: number[] = [];
      const device = openRaid({
        layer: "test",
        geometry,
        // Each in another page of the same chunk, so that no page is lost twice.
        legs: whole.devices.map((d, i) => ({ device: withBadSectors(d, [i * 8 + 1]) })),
        legSizes: whole.bytes.map((b) => b.length),
        writable: true,
        onLegError: (leg) => hurt.push(leg),
      });
      expect(Buffer.compare(await readBytes(device, 0, device.size), content)).toBe(0);
      expect(hurt.length).toBeGreaterThan(0);
      // A write that needs what lies in the bad sectors gets it from the others.
      await device.write(pattern(512, 5), 5 * 512);
      content.set(pattern(512, 5), 5 * 512);
      expect(Buffer.compare(await readBytes(device, 0, device.size), content)).toBe(0);
    });
  }

  it("says which bytes are lost when too many legs fail at one place", async () => {
    const geometry = { kind: "raid5", chunk: CHUNK, algorithm: 2 } as const;
    const whole = make({ geometry, legs: 3, lose: [] });
    await whole.device.write(pattern(whole.device.size, 2), 0);
    const device = openRaid({
      layer: "test",
      geometry,
      legs: whole.devices.map((d, i) => ({ device: i < 2 ? withBadSectors(d, [9]) : d })),
      legSizes: whole.bytes.map((b) => b.length),
      writable: true,
    });
    const bad = await readBytes(device, 0, device.size).catch((e: unknown) => e as StorageError);
    expect(bad).toMatchObject({ code: "io", layer: "test", offset: 4096 });
    // The row before and the one after are whole.
    await readBytes(device, 0, 2 * CHUNK);
    await readBytes(device, 4 * CHUNK, 8 * CHUNK);
  });
});

describe("raid with stale parts", () => {
  it("never reads them, and writes them with the rest", async () => {
    for (const geometry of [
      { kind: "raid1" },
      { kind: "raid5", chunk: CHUNK, algorithm: 2 },
      { kind: "raid6", chunk: CHUNK, algorithm: 8 },
    ] as const) {
      const whole = make({ geometry, legs: 4, lose: [] });
      const content = pattern(whole.device.size, 4);
      await whole.device.write(content, 0);
      const stale = new RangeSet();
      stale.add(1024, 512);
      stale.add(20 * 1024, 30 * 1024);
      whole.bytes[1]!.fill(0xee, 1024, 1536).fill(0xee, 20 * 1024, 50 * 1024);
      const legs = whole.devices.map((device, i) => (i === 1 ? { device, stale } : { device }));
      const legSizes = whole.bytes.map((b) => b.length);
      const device = openRaid({ layer: "test", geometry, legs, legSizes, writable: true });
      expect(Buffer.compare(await readBytes(device, 0, device.size), content)).toBe(0);
      const fresh = pattern(device.size, 77);
      await device.write(fresh, 0);
      expect(Buffer.compare(await readBytes(device, 0, device.size), fresh)).toBe(0);
      // What was written is on the leg too: it could be read without the others' help.
      const trusting = openRaid({
        layer: "test",
        geometry,
        legs: whole.devices.map((d) => ({ device: d })),
        legSizes,
        writable: false,
      });
      expect(Buffer.compare(await readBytes(trusting, 0, device.size), fresh)).toBe(0);
    }
  });

  it("refuses to write what could not be read back", async () => {
    const stale = new RangeSet();
    stale.add(0, 4096);
    const legs = [{ device: memoryDevice(new Uint8Array(LEG)), stale }, null];
    const device = openRaid({ layer: "test", geometry: { kind: "raid1" }, legs, legSizes: [LEG, LEG], writable: true });
    expect(await codeOf(device.write(new Uint8Array(512), 0))).toBe("io");
    await device.write(new Uint8Array(512), 4096);
  });
});

describe("raid geometry", () => {
  it("refuses numbers that describe no array", () => {
    for (const [geometry, legs] of [
      [{ kind: "raid5", chunk: 0, algorithm: 2 }, 3],
      [{ kind: "raid6", chunk: CHUNK, algorithm: 2 }, 3],
      [{ kind: "raid6", chunk: CHUNK, algorithm: 2 }, 300],
      [raid10(3, 2, false, 4), 4],
      [raid10(1, 0, false, 4), 4],
      [raid10(1, 2, false, 0), 4],
    ] as const) {
      expect(() => make({ geometry, legs, lose: [] }), JSON.stringify(geometry)).toThrow(StorageError);
    }
  });

  it("awaits the hook once before the first change, and again when it failed", async () => {
    let calls = 0;
    const bytes = [new Uint8Array(LEG), new Uint8Array(LEG)];
    const device = openRaid({
      layer: "test",
      geometry: { kind: "raid1" },
      legs: bytes.map((b) => ({ device: memoryDevice(b) })),
      legSizes: [LEG, LEG],
      writable: true,
      beforeFirstWrite: async () => {
        calls++;
        if (calls === 1) throw new StorageError("io", "no", { layer: "test" });
      },
    });
    expect(await codeOf(device.write(Uint8Array.of(1), 0))).toBe("io");
    expect(bytes[0]![0]).toBe(0);
    await device.write(Uint8Array.of(1), 0);
    await device.write(Uint8Array.of(2), 1);
    expect(calls).toBe(2);
    expect(bytes.map((b) => [b[0], b[1]])).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it("uses whole chunks of the smallest leg", () => {
    const sizes = [LEG + 5000, LEG + 100, LEG];
    expect(raidSize({ kind: "raid5", chunk: CHUNK, algorithm: 2 }, sizes)).toBe(2 * LEG);
    expect(raidSize({ kind: "raid0", chunk: CHUNK, zones: "original" }, sizes)).toBe(3 * LEG + CHUNK);
  });
});
