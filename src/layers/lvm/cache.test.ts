import { describe, expect, it } from "vitest";
import { contentSha } from "../../../test/helpers/content-sha.ts";
import { fixtureDevices, lvmFixture } from "../../../test/helpers/lvm-fixture.ts";
import { plainContext } from "../../../test/helpers/open-context.ts";
import { readBytes } from "../../core/device.ts";
import type { Layer } from "../../core/layer.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { openWritecache } from "./cache/writecache.ts";
import { lvmDriver } from "./driver.ts";

const cache = lvmFixture("cache");
const nested = lvmFixture("nested");
const named = (layer: Layer, name: string) => layer.children.find((c) => c.name === name)!;

describe("cached volumes after a power cut", () => {
  it("reads them as the kernel does, with what was not written back", async () => {
    const layer = await lvmDriver.open(fixtureDevices(cache), plainContext(true));
    expect(cache.volumes.map((v) => v.name)).toEqual(["vol", "wb", "wc", "wt"]);
    for (const { name, size, sha256 } of cache.volumes) {
      const child = named(layer, name);
      const device = await child.open();
      expect([name, device.size, await contentSha(device)]).toEqual([name, size, sha256]);
      expect([name, device.caps.writable]).toEqual([name, false]);
      expect(child.info!.findings.map((f) => f.code)).toEqual(name === "wc" ? [] : ["lvm-cache-dirty"]);
    }
    // The origins alone would not do: that is what the cache is read for.
    for (const [name, origin] of [
      ["wb", "wb_corig"],
      ["vol", "vol_corig"],
      ["wc", "wc_wcorig"],
    ] as const) {
      const { sha256 } = cache.volumes.find((v) => v.name === name)!;
      expect(await contentSha(await named(layer, origin).open())).not.toBe(sha256);
    }
  });

  it("does not show the origin alone when the cache is missing", async () => {
    const layer = await lvmDriver.open(fixtureDevices(cache, ["pb"]), plainContext());
    for (const { name } of cache.volumes) expect(named(layer, name).unavailable).toMatch(/is missing/);
  });

  it("keeps to the limit", async () => {
    const layer = await lvmDriver.open(fixtureDevices(cache), plainContext(false, { lvmCacheBlocks: 16 }));
    await expect(named(layer, "wb").open()).rejects.toMatchObject({ code: "limit" });
    await expect(named(layer, "wc").open()).rejects.toMatchObject({ code: "limit" });
  });
});

describe("layers on layers", () => {
  it("reads thin pools on raid, on a cached raid5, snapshots of thin volumes, and a thin merge", async () => {
    const layer = await lvmDriver.open(fixtureDevices(nested), plainContext(true));
    expect(nested.volumes.map((v) => v.name)).toEqual(["m1", "t1", "t1classic", "t1snap", "t2"]);
    for (const { name, size, sha256 } of nested.volumes) {
      const device = await named(layer, name).open();
      expect([name, device.size, await contentSha(device)]).toEqual([name, size, sha256]);
    }
    const readOnly = Object.fromEntries(
      nested.volumes.map((v) => [v.name, named(layer, v.name).info!.details.readOnly]),
    );
    expect(readOnly).toEqual({
      m1: "m1snap is to replace it",
      t1: expect.stringMatching(/origin of a snapshot/),
      t1classic: expect.stringMatching(/classic snapshot/),
      t1snap: null,
      t2: "it is cached",
    });
  });

  it("reads a thin pool of which one half is missing, and says so", async () => {
    const layer = await lvmDriver.open(fixtureDevices(nested, ["pb"]), plainContext(true));
    const t1snap = named(layer, "t1snap");
    expect(await contentSha(await t1snap.open())).toBe(nested.volumes.find((v) => v.name === "t1snap")!.sha256);
    expect(t1snap.info!.findings.map((f) => f.code)).toEqual(["lvm-raid-degraded", "lvm-raid-degraded"]);
    expect((await t1snap.open()).caps.writable).toBe(false);
  });
});

/** A writecache of 4 blocks of 4 KiB over an origin of 8. */
function writecacheImage(entries: readonly (readonly [sector: bigint, sequence: bigint])[], sequence = 10n): Buffer {
  const image = Buffer.alloc(5 * 4096);
  image.writeUInt32LE(0x23489321, 0);
  image.writeUInt32LE(1, 4);
  image.writeUInt32LE(4096, 8);
  image.writeBigUInt64LE(4n, 16);
  image.writeBigUInt64LE(sequence, 24);
  for (let i = 0; i < 4; i++) {
    const [sector, seq] = entries[i] ?? [0n, 0xffff_ffff_ffff_ffffn];
    image.writeBigUInt64LE(sector, 64 + i * 16);
    image.writeBigUInt64LE(seq, 64 + i * 16 + 8);
    image.fill(i + 1, (i + 1) * 4096, (i + 2) * 4096);
  }
  return image;
}

const openImage = (image: Uint8Array, blockSize = 4096) =>
  openWritecache({
    name: "lv",
    origin: memoryDevice(new Uint8Array(8 * 4096).fill(0xaa)),
    cache: memoryDevice(image),
    blockSize,
    limits: DEFAULT_LIMITS,
  });

describe("writecaches", () => {
  it("takes the newest committed entry of a block, and none that was not committed", async () => {
    const device = await openImage(
      writecacheImage([
        [8n, 3n],
        [8n, 5n],
        [16n, 10n],
        [24n, 9n],
      ]),
    );
    const bytes = await readBytes(device, 0, device.size);
    expect([0, 1, 2, 3, 4].map((block) => bytes[block * 4096])).toEqual([0xaa, 2, 0xaa, 4, 0xaa]);
  });

  it("reads the origin through a cache that was never used", async () => {
    const device = await openImage(Buffer.alloc(5 * 4096));
    expect((await readBytes(device, 0, device.size)).every((b) => b === 0xaa)).toBe(true);
  });

  it("refuses what makes no sense", async () => {
    const change = (at: number, value: number) => {
      const image = writecacheImage([]);
      image.writeUInt32LE(value, at);
      return openImage(image);
    };
    await expect(change(0, 1)).rejects.toMatchObject({ code: "corrupt" });
    await expect(change(4, 2)).rejects.toMatchObject({ code: "unsupported", feature: "writecache version 2" });
    await expect(change(8, 512)).rejects.toMatchObject({ code: "corrupt" });
    await expect(change(16, 5)).rejects.toMatchObject({ code: "corrupt" });
    await expect(change(20, 1)).rejects.toMatchObject({ code: "limit" });
    const read = async (entries: readonly (readonly [bigint, bigint])[]) =>
      (await openImage(writecacheImage(entries))).read(new Uint8Array(1), 0);
    await expect(read([[3n, 1n]])).rejects.toMatchObject({ code: "corrupt" });
    await expect(
      read([
        [8n, 1n],
        [8n, 1n],
      ]),
    ).rejects.toMatchObject({ code: "corrupt" });
    await expect(read([[1n << 60n, 1n]])).rejects.toMatchObject({ code: "corrupt" });
  });
});
