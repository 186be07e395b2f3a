import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { deviceConformance } from "../../../test/conformance/suite.ts";
import { fixtureDevices, lvmFixture } from "../../../test/helpers/lvm-fixture.ts";
import { plainContext } from "../../../test/helpers/open-context.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { lvmDriver } from "./driver.ts";
import { openSnapshot } from "./snapshot/snapshot-device.ts";

async function contentSha(device: BlockDevice): Promise<string> {
  return createHash("sha256")
    .update(await readBytes(device, 0, device.size))
    .digest("hex");
}

const open = async (name: string) => {
  const fixture = lvmFixture(name);
  const layer = await lvmDriver.open(fixtureDevices(fixture), plainContext(true));
  return { fixture, layer, named: (lv: string) => layer.children.find((c) => c.name === lv)! };
};

describe("classic snapshots made by a kernel", () => {
  it("reads origins, snapshots with several areas of exceptions, and one that nothing was copied to", async () => {
    const { fixture, named } = await open("snapshots");
    expect(fixture.volumes.map((v) => v.name)).toEqual(["big", "bigsnap", "fresh", "mo", "origin", "s16k"]);
    for (const { name, size, sha256 } of fixture.volumes) {
      const device = await named(name).open();
      expect([name, device.size, await contentSha(device), device.caps.writable]).toEqual([name, size, sha256, false]);
    }
  });

  it("says that a snapshot overflowed", async () => {
    const { named } = await open("snapshots");
    for (const name of ["full", "s4k"]) {
      expect(named(name).unavailable).toMatch(/snapshot is invalid: its store was full/);
      await expect(named(name).open()).rejects.toMatchObject({ code: "unsupported", feature: "invalid snapshot" });
    }
  });

  it("reads an origin with a merge half done, and one not begun, as the kernel will", async () => {
    for (const [set, lv, store] of [
      ["merging", "mo", "snap"],
      ["snapshots", "mo", "mosnap"],
    ] as const) {
      const { fixture, named } = await open(set);
      const child = named(lv);
      expect(await contentSha(await child.open())).toBe(fixture.volumes.find((v) => v.name === lv)!.sha256);
      expect(child.info!.findings.map((f) => [f.severity, f.code])).toEqual([["info", "lvm-snapshot-merging"]]);
      expect(child.info!.details.readOnly).toMatch(/origin of a snapshot/);
      expect(named(store).hasContent).toBe(false);
    }
  });
});

/** A store of 4 KiB chunks: header, one area, data. */
function storeImage(exceptions: readonly (readonly [bigint, bigint])[], chunks = 300, size = 4096): Buffer {
  const store = Buffer.alloc(chunks * size);
  for (const [i, word] of [0x70416e53, 1, 1, size / 512].entries()) store.writeUInt32LE(word, i * 4);
  exceptions.forEach(([from, to], i) => {
    store.writeBigUInt64LE(from, size + i * 16);
    store.writeBigUInt64LE(to, size + i * 16 + 8);
  });
  for (let chunk = 2; chunk < chunks; chunk++)
    if (chunk !== 258) store.fill(chunk % 251, chunk * size, (chunk + 1) * size);
  return store;
}

const snapshotOf = (store: Uint8Array, limits = {}) =>
  openSnapshot({
    origin: memoryDevice(new Uint8Array(64 * 1024).fill(0xaa)),
    store: memoryDevice(store),
    size: 64 * 1024,
    limits: { ...DEFAULT_LIMITS, ...limits },
  });
const readAll = async (store: Uint8Array, limits = {}) => {
  const device = await snapshotOf(store, limits);
  return readBytes(device, 0, device.size);
};

describe("stores that lie", () => {
  it("accepts the good one", async () => {
    const bytes = await readAll(
      storeImage([
        [3n, 2n],
        [1n, 5n],
      ]),
    );
    expect([0, 4096, 8192, 12288].map((at) => bytes[at])).toEqual([0xaa, 5, 0xaa, 2]);
  });

  const bad: readonly (readonly [string, readonly (readonly [bigint, bigint])[]])[] = [
    ["a copy beyond the store", [[0n, 300n]]],
    ["a copy beyond 2^53", [[0n, 1n << 60n]]],
    ["an origin chunk beyond 2^53", [[1n << 60n, 2n]]],
    ["a copy in an area of exceptions", [[0n, 258n]]],
    ["a copy in the first area", [[0n, 1n]]],
    [
      "two copies of one chunk",
      [
        [7n, 2n],
        [7n, 3n],
      ],
    ],
  ];
  for (const [name, exceptions] of bad) {
    it(`is corrupt with ${name}`, async () => {
      await expect(readAll(storeImage(exceptions))).rejects.toMatchObject({ code: "corrupt", layer: "lvm" });
    });
  }

  it("refuses other headers by name", async () => {
    const change = (at: number, value: number) => {
      const store = storeImage([]);
      store.writeUInt32LE(value, at);
      return snapshotOf(store);
    };
    await expect(change(0, 7)).rejects.toMatchObject({ code: "corrupt" });
    await expect(change(4, 0)).rejects.toMatchObject({ code: "unsupported", feature: "invalid snapshot" });
    await expect(change(8, 2)).rejects.toMatchObject({ code: "unsupported", feature: "snapshot version 2" });
    for (const sectors of [0, 3, 0x80000000])
      await expect(change(12, sectors)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("stops at the named limit, and at the end of a store that is all exceptions", async () => {
    const full = storeImage(Array.from({ length: 256 }, (_, i) => [BigInt(i), BigInt(i + 2)] as const));
    await expect(readAll(full, { lvmSnapshotExceptions: 255 })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringMatching(/lvmSnapshotExceptions=256/),
    });
    expect((await readAll(full.subarray(0, 258 * 4096)))[4096]).toBe(3);
  });

  it("reads exceptions of chunks that the snapshot does not reach as nothing", async () => {
    expect((await readAll(storeImage([[9999n, 2n]]))).every((b) => b === 0xaa)).toBe(true);
  });
});

deviceConformance("a classic snapshot", async () => {
  const store = storeImage([
    [2n, 9n],
    [3n, 4n],
    [15n, 11n],
  ]);
  const content = new Uint8Array(64 * 1024).fill(0xaa);
  for (const [chunk, copy] of [
    [2, 9],
    [3, 4],
    [15, 11],
  ] as const)
    content.fill(copy, chunk * 4096, (chunk + 1) * 4096);
  return { device: await snapshotOf(store), content };
});
