import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { recognise } from "../../src/filesystems/registry.ts";
import { memoryWindow, withFileWindow } from "../helpers/probe-window.ts";
import { blkid, run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MiB = 1024 * 1024;
const folder = temporaryFolder();
afterAll(folder.remove);
const disk = join(folder.path, "disk");

type Piece = readonly [number, Uint8Array];
const latin1 = (text: string) => Buffer.from(text, "latin1");
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

function block(size: number, ...pieces: readonly Piece[]): Buffer {
  const out = Buffer.alloc(size);
  for (const [at, bytes] of pieces) out.set(bytes, at);
  return out;
}
function le(width: 2 | 4 | 8, value: number | bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return out.subarray(0, width);
}
const utf16 = (text: string) => Buffer.from(text, "utf16le");

const record = (...attributes: Buffer[]) =>
  block(
    1024,
    [0, latin1("FILE")],
    [4, le(2, 48)],
    [6, le(2, 3)],
    [20, le(2, 56)],
    [28, le(4, 1024)],
    [48, hex("0100 0000 0000")],
    [510, hex("0100")],
    [1022, hex("0100")],
    [56, Buffer.concat([...attributes, le(4, 0xffffffff)])],
  );
const attribute = (type: number, value: Buffer) =>
  block(
    24 + Math.ceil(value.length / 8) * 8,
    [0, le(4, type)],
    [4, le(4, 24 + Math.ceil(value.length / 8) * 8)],
    [16, le(4, value.length)],
    [20, le(2, 24)],
    [24, value],
  );

const ntfs = (flags: number): readonly Piece[] => [
  [
    0,
    block(
      512,
      [3, latin1("NTFS    ")],
      [11, le(2, 512)],
      [13, [8] as unknown as Uint8Array],
      [40, le(8, (16 * MiB) / 512 - 1)],
      [48, le(8, 4)],
      [56, le(8, 2)],
      [64, [0xf6] as unknown as Uint8Array],
      [72, le(8, 0x09cbb6de30c87310n)],
      [510, hex("55aa")],
    ),
  ],
  [4 * 4096, record()],
  [
    4 * 4096 + 3 * 1024,
    record(attribute(0x60, utf16("Neues Volume")), attribute(0x70, block(12, [8, hex("0301")], [10, le(2, flags)]))),
  ],
];

const exfat = (flags: number): readonly Piece[] => [
  [
    0,
    block(
      512,
      [0, hex("eb7690")],
      [3, latin1("EXFAT   ")],
      [72, le(8, (16 * MiB) / 512)],
      [80, le(4, 128)],
      [84, le(4, 128)],
      [88, le(4, 256)],
      [92, le(4, 4000)],
      [96, le(4, 4)],
      [100, le(4, 0xcafe0123)],
      [104, hex("0001")],
      [106, le(2, flags)],
      [108, hex("0903 01")],
      [510, hex("55aa")],
    ),
  ],
  [128 * 512 + 16, hex("ffffffff")],
  [(256 + 2 * 8) * 512, block(64, [0, hex("8305")], [2, utf16("Stick")])],
];

const CASES: readonly (readonly [string, number, readonly Piece[], { state?: string | null; details?: object }])[] = [
  ["NTFS", 16 * MiB, ntfs(0), { state: "clean", details: { version: "3.1", clusterSize: 4096 } }],
  ["NTFS, dirty", 16 * MiB, ntfs(1), { state: "not clean" }],
  ["exFAT", 16 * MiB, exfat(0), { state: "clean", details: { version: "1.0", clusterSize: 4096 } }],
  ["exFAT, dirty", 16 * MiB, exfat(2), { state: "not clean" }],
  [
    "squashfs",
    MiB,
    [[0, block(96, [0, latin1("hsqs")], [12, le(4, 131072)], [20, le(2, 6)], [28, le(2, 4)], [40, le(8, 4096)])]],
    { details: { version: "4.0", compression: "zstd" } },
  ],
  [
    "ISO 9660",
    MiB,
    [
      [
        0x8000,
        block(
          2048,
          [0, hex("01")],
          [1, latin1("CD001")],
          [6, hex("01")],
          [8, latin1(" ".repeat(32))],
          [40, latin1("DEBIAN 12".padEnd(32))],
          [80, le(4, 200)],
          [128, le(2, 2048)],
          [813, latin1("2024010203040500")],
          [830, latin1("2024010203040506")],
        ),
      ],
      [0x8800, block(2048, [0, hex("ff")], [1, latin1("CD001")], [6, hex("01")])],
    ],
    { state: null },
  ],
  [
    "BitLocker",
    16 * MiB,
    [
      [0, block(512, [0, hex("eb5890")], [3, latin1("-FVE-FS-")], [176, le(8, 65536)])],
      [65536, block(12, [0, latin1("-FVE-FS-")], [10, le(2, 2)])],
    ],
    { details: { version: 2 } },
  ],
  ["BitLocker of Vista", 16 * MiB, [[0, block(512, [0, hex("eb5290")], [3, latin1("-FVE-FS-")])]], {}],
  [
    "DRBD",
    16 * MiB,
    [[16 * MiB - 4096, block(4096, [48, hex("00a1b2c3d4e5f607")], [60, hex("8374026d")])]],
    { details: { version: "v09" } },
  ],
  [
    "bcache",
    16 * MiB,
    [
      [
        4096,
        block(
          4096,
          [8, le(8, 8)],
          [24, hex("c68573f64e1a45ca8265f57f48ba6d81")],
          [40, hex("11223344556677889900aabbccddeeff")],
        ),
      ],
    ],
    {},
  ],
  ["version 0 swap", 16 * MiB, [[4086, latin1("SWAP-SPACE")]], { details: { version: "0" } }],
];

describe("headers made by hand from the specifications, against blkid", () => {
  it.each(CASES)("%s", async (_name, size, pieces, expected) => {
    sparseFile(disk, size, pieces);
    const info = await withFileWindow(disk, recognise);
    const named = blkid(disk);
    expect(info).not.toBeNull();
    expect({ type: info!.type, uuid: info!.uuid, label: info!.label }).toEqual({
      type: named?.type,
      uuid: named?.uuid,
      label: named?.label,
    });
    if (expected.state !== undefined) expect(info!.state).toBe(expected.state);
    if (expected.details) expect(info!.details).toMatchObject(expected.details);
  });
});

describe("hostile superblocks", () => {
  const sources: readonly (readonly [string, number, string[]])[] = [
    ["ext4", 8 * MiB, ["mke2fs", "-q", "-t", "ext4"]],
    ["vfat", 40 * MiB, ["mkfs.vfat", "-F", "32"]],
    ["swap", MiB, ["mkswap"]],
    ["btrfs", 120 * MiB, ["mkfs.btrfs", "-q"]],
    ["xfs", 310 * MiB, ["mkfs.xfs", "-q"]],
  ];
  const images = () => [
    ...sources.map(([type, size, [program, ...options]]) => {
      sparseFile(disk, size);
      run(program!, ...options, disk);
      return [type, readFileSync(disk).subarray(0, 128 * 1024)] as const;
    }),
    ...CASES.map(([type, size, pieces]) => {
      sparseFile(disk, size, pieces);
      const bytes = readFileSync(disk);
      const atEnd = pieces.every(([at]) => at >= size - 128 * 1024);
      return [type, atEnd ? bytes.subarray(-128 * 1024) : bytes.subarray(0, 128 * 1024)] as const;
    }),
  ];

  it("change nothing but the answer: no exception, few bytes read", async () => {
    for (const [, bytes] of images()) {
      const used = Array.from(bytes.keys()).filter((i) => bytes[i] !== 0);
      const places = [...new Set([...used, ...used.map((i) => i ^ 3)])];
      const change = fc.tuple(fc.constantFrom(...places), fc.constantFrom(0, 1, 0x7f, 0x80, 0xfe, 0xff));
      await fc.assert(
        fc.asyncProperty(
          fc.array(change, { minLength: 1, maxLength: 12 }),
          fc.integer({ min: 0, max: bytes.length }),
          async (changes, cut) => {
            const copy = Buffer.from(bytes.subarray(0, cut > bytes.length / 2 ? bytes.length : cut));
            for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
            const window = memoryWindow(copy);
            const info = await recognise(window);
            expect(() => JSON.stringify(info)).not.toThrow();
            expect(window.bytesRead).toBeLessThan(512 * 1024);
          },
        ),
        { numRuns: 40, seed: 20261124 },
      );
    }
  });
});
