import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { plainContext, probeDevice } from "../../../test/helpers/open-context.ts";
import { crc32 } from "../../bytes/crc.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { gptDriver } from "./driver.ts";

const BLOCKS = 2048;

interface Shape {
  readonly entryCount: number;
  readonly entrySize: number;
  readonly headerSize: number;
  readonly revision: number;
  readonly myLba: bigint;
  readonly alternateLba: bigint;
  readonly firstUsable: bigint;
  readonly lastUsable: bigint;
  readonly entriesLba: bigint;
  readonly entries: readonly (readonly [first: bigint, last: bigint])[];
}

const GOOD: Shape = {
  entryCount: 128,
  entrySize: 128,
  headerSize: 92,
  revision: 0x00010000,
  myLba: 1n,
  alternateLba: BigInt(BLOCKS - 1),
  firstUsable: 34n,
  lastUsable: BigInt(BLOCKS - 34),
  entriesLba: 2n,
  entries: [
    [40n, 99n],
    [100n, 100n],
  ],
};

/** Writes one copy with right checksums, whatever nonsense it says. */
function writeCopy(disk: Buffer, at: number, s: Shape): void {
  const array = Buffer.alloc(Math.min(s.entryCount * s.entrySize, 64 * 1024));
  for (const [i, [first, last]] of s.entries.entries()) {
    const e = array.subarray(i * s.entrySize);
    e.fill(0x11, 0, 16);
    e.fill(i + 1, 16, 32);
    e.writeBigUInt64LE(first, 32);
    e.writeBigUInt64LE(last, 40);
  }
  if (s.entriesLba * 512n + BigInt(array.length) <= BigInt(disk.length)) array.copy(disk, Number(s.entriesLba) * 512);
  const h = disk.subarray(at * 512, at * 512 + 512);
  h.fill(0);
  h.write("EFI PART", 0, "latin1");
  h.writeUInt32LE(s.revision, 8);
  h.writeUInt32LE(s.headerSize, 12);
  h.writeBigUInt64LE(s.myLba, 24);
  h.writeBigUInt64LE(s.alternateLba, 32);
  h.writeBigUInt64LE(s.firstUsable, 40);
  h.writeBigUInt64LE(s.lastUsable, 48);
  h.fill(0xab, 56, 72);
  h.writeBigUInt64LE(s.entriesLba, 72);
  h.writeUInt32LE(s.entryCount, 80);
  h.writeUInt32LE(s.entrySize, 84);
  h.writeUInt32LE(crc32(array), 88);
  h.writeUInt32LE(crc32(h.subarray(0, Math.min(Math.max(s.headerSize, 20), 512))), 16);
}

function disk(primary: Partial<Shape> = {}, backup: Partial<Shape> | null = primary) {
  const bytes = Buffer.alloc(BLOCKS * 512);
  bytes[446 + 4] = 0xee;
  bytes.writeUInt16LE(0xaa55, 510);
  writeCopy(bytes, 1, { ...GOOD, ...primary });
  if (backup) {
    const swapped = { myLba: BigInt(BLOCKS - 1), alternateLba: 1n, entriesLba: BigInt(BLOCKS - 33) };
    writeCopy(bytes, BLOCKS - 1, { ...GOOD, ...backup, ...swapped });
  }
  return memoryDevice(bytes);
}

const open = (device: ReturnType<typeof disk>, limits = {}) => gptDriver.open([device], plainContext(false, limits));
const codes = async (device: ReturnType<typeof disk>) => (await open(device)).info.findings.map((f) => f.code);

describe("GPT headers with right checksums that lie", () => {
  it("accepts the good one, last block inclusive", async () => {
    const layer = await open(disk());
    expect(layer.info.findings).toEqual([]);
    expect(layer.children.map((c) => [c.name, c.offset, c.size])).toEqual([
      ["p1", 40 * 512, 60 * 512],
      ["p2", 100 * 512, 512],
    ]);
  });

  const lies: readonly (readonly [string, Partial<Shape>])[] = [
    ["a header size below 92", { headerSize: 91 }],
    ["a header size above the block", { headerSize: 513 }],
    ["another place", { myLba: 2n }],
    ["an entry size that is no power of two", { entrySize: 384 }],
    ["an entry size of 0", { entrySize: 0, entries: [] }],
    ["entries beyond the disk", { entriesLba: 1n << 60n }],
    ["entries that reach beyond the disk", { entriesLba: BigInt(BLOCKS - 2) }],
    ["entries in the protective MBR", { entriesLba: 0n }],
  ];
  for (const [name, lie] of lies) {
    it(`uses the backup when the first has ${name}`, async () => {
      const device = disk(lie, {});
      expect(await codes(device)).toEqual(["gpt-primary-damaged"]);
      expect((await open(device)).children).toHaveLength(2);
    });
  }

  it("is corrupt when both copies are damaged, and still recognised", async () => {
    const device = disk({ myLba: 7n }, null);
    expect(await probeDevice(gptDriver, device)).not.toBeNull();
    await expect(open(device)).rejects.toMatchObject({ code: "corrupt", layer: "gpt", offset: 512 });
  });

  it("does not read more entries than the limit", async () => {
    await expect(open(disk({ entryCount: 0xffffffff }))).rejects.toMatchObject({ code: "limit" });
    await expect(open(disk(), { gptEntryBytes: 1024 })).rejects.toMatchObject({ code: "limit" });
  });

  it("reads entries of 256 bytes and a larger header", async () => {
    const layer = await open(disk({ entrySize: 256, entryCount: 64, headerSize: 512 }));
    expect(layer.info.findings).toEqual([]);
    expect(layer.children.map((c) => c.offset)).toEqual([40 * 512, 100 * 512]);
  });

  it("reports an unknown revision", async () => {
    expect(await codes(disk({ revision: 0x00020000 }))).toEqual(["gpt-revision"]);
  });

  it("needs the protective MBR", async () => {
    const device = disk();
    await device.write(Uint8Array.of(0x83), 446 + 4);
    expect(await probeDevice(gptDriver, device)).toBeNull();
  });
});

describe("GPT entries that lie", () => {
  const bad: readonly (readonly [string, readonly [bigint, bigint], RegExp])[] = [
    ["ends before it begins", [100n, 99n], /ends before it begins/],
    ["reaches beyond the disk", [100n, BigInt(BLOCKS)], /beyond the end/],
    ["lies beyond 2^53", [1n << 62n, (1n << 62n) + 5n], /beyond the end/],
    ["begins at block 0", [0n, 99n], /protective MBR/],
  ];
  for (const [name, entry, reason] of bad) {
    it(`makes only the partition that ${name} unavailable`, async () => {
      const layer = await open(disk({ entries: [entry, [500n, 509n]] }));
      expect(layer.children.map((c) => c.unavailable === null)).toEqual([false, true]);
      expect(layer.children[0]!.unavailable).toMatch(reason);
      await expect(layer.children[0]!.open()).rejects.toMatchObject({ code: "corrupt" });
    });
  }

  it("reports overlaps, also under a partition that spans several, and places that are not usable", async () => {
    const entries = [
      [40n, 400n],
      [50n, 60n],
      [400n, 401n],
      [2n, 5n],
    ] as const;
    expect((await codes(disk({ entries }))).sort()).toEqual([
      "gpt-overlap",
      "gpt-overlap",
      "gpt-partition-outside-usable",
    ]);
  });

  it("opens or refuses any mutated table whose checksums were put right", async () => {
    const lba = fc.oneof(fc.bigInt({ min: 0n, max: 2100n }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
    const shape = fc.record(
      {
        entryCount: fc.constantFrom(0, 1, 128, 4096, 0xffffffff),
        entrySize: fc.constantFrom(0, 64, 128, 256, 4096, 0x80000000),
        headerSize: fc.constantFrom(0, 92, 512, 0xffffffff),
        alternateLba: lba,
        firstUsable: lba,
        lastUsable: lba,
        entriesLba: lba,
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(shape, fc.boolean(), async (mutation, both) => {
        const entries = [[40n, 99n]] as const;
        const safe = (mutation.entrySize ?? 128) >= 128 && (mutation.entryCount ?? 128) > 0;
        const device = disk({ ...mutation, entries: safe ? entries : [] }, both ? {} : null);
        try {
          const layer = await open(device);
          for (const child of layer.children) if (child.unavailable === null) await child.open();
        } catch (error) {
          expect(error).toMatchObject({ name: "StorageError", code: expect.stringMatching(/^(corrupt|limit)$/) });
        }
      }),
      { numRuns: 60 },
    );
  });
});
