import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StorageError } from "../../core/errors.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { probeQcow2, qcow2Driver } from "./driver.ts";

const CLUSTER = 512;
const L1 = 1 * CLUSTER;
const REFCOUNT_TABLE = 2 * CLUSTER;
const REFCOUNT_BLOCK = 3 * CLUSTER;
const L2 = 4 * CLUSTER;
const DATA = 5 * CLUSTER;
const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;

/** A small sound version 3 image: 512-byte clusters, one data cluster of 0x11 at guest cluster 0. */
function image(damage: (dv: DataView) => void = () => undefined): Uint8Array {
  const bytes = new Uint8Array(8 * CLUSTER);
  const dv = new DataView(bytes.buffer);
  dv.setUint32(0, 0x514649fb);
  dv.setUint32(4, 3);
  dv.setUint32(20, 9);
  dv.setBigUint64(24, 32768n);
  dv.setUint32(36, 1);
  dv.setBigUint64(40, BigInt(L1));
  dv.setBigUint64(48, BigInt(REFCOUNT_TABLE));
  dv.setUint32(56, 1);
  dv.setUint32(96, 4);
  dv.setUint32(100, 104);
  dv.setBigUint64(L1, BigInt(L2) | COPIED);
  dv.setBigUint64(REFCOUNT_TABLE, BigInt(REFCOUNT_BLOCK));
  for (let i = 0; i < 6; i++) dv.setUint16(REFCOUNT_BLOCK + i * 2, 1);
  dv.setBigUint64(L2, BigInt(DATA) | COPIED);
  bytes.fill(0x11, DATA, DATA + CLUSTER);
  damage(dv);
  return bytes;
}

function context(writable: boolean): OpenContext {
  return {
    writable,
    keys: { secretsFor: async () => [] },
    limits: DEFAULT_LIMITS,
    openImage: () => Promise.reject(new StorageError("gate", "no other image here")),
    unlockHeader: () => Promise.reject(new StorageError("corrupt", "no LUKS header")),
  };
}

function open(bytes: Uint8Array, writable = false): Promise<Layer> {
  return qcow2Driver.open([memoryDevice(bytes)], context(writable));
}

async function disk(bytes: Uint8Array, writable = false) {
  return (await open(bytes, writable)).children[0]!.open();
}

describe("qcow2 headers that lie", () => {
  it("opens the sound one", async () => {
    const device = await disk(image(), true);
    const first = new Uint8Array(CLUSTER);
    await device.read(first, 0);
    expect(first.every((b) => b === 0x11)).toBe(true);
    await device.write(first, 10 * CLUSTER);
    await device.flush();
  });

  it.each<[string, (dv: DataView) => void, string]>([
    ["cluster_bits 8", (dv) => dv.setUint32(20, 8), "corrupt"],
    ["cluster_bits 64", (dv) => dv.setUint32(20, 64), "corrupt"],
    ["a size beyond 2^53", (dv) => dv.setBigUint64(24, 1n << 63n), "corrupt"],
    ["an L1 table too small for the size", (dv) => dv.setBigUint64(24, 1n << 40n), "corrupt"],
    ["extended L2 entries with clusters too small for them", (dv) => dv.setBigUint64(72, 16n), "corrupt"],
    ["a huge L1 table", (dv) => dv.setUint32(36, 0xffffffff), "limit"],
    ["an L1 table off its boundary", (dv) => dv.setBigUint64(40, 513n), "corrupt"],
    ["an L1 table beyond the end", (dv) => dv.setBigUint64(40, 1n << 40n), "corrupt"],
    ["an L1 table on the header", (dv) => dv.setBigUint64(40, 0n), "corrupt"],
    ["a huge refcount table", (dv) => dv.setUint32(56, 0xffffffff), "limit"],
    ["a refcount table beyond the end", (dv) => dv.setBigUint64(48, 1n << 40n), "corrupt"],
    ["no refcount table", (dv) => dv.setUint32(56, 0), "corrupt"],
    ["refcount_order 7", (dv) => dv.setUint32(96, 7), "corrupt"],
    ["header_length 96", (dv) => dv.setUint32(100, 96), "corrupt"],
    ["header_length beyond the cluster", (dv) => dv.setUint32(100, 1024), "corrupt"],
    ["too many snapshots", (dv) => dv.setUint32(60, 65537), "limit"],
    [
      "a backing name of 1024 bytes",
      (dv) => {
        dv.setBigUint64(8, 200n);
        dv.setUint32(16, 1024);
      },
      "corrupt",
    ],
    [
      "a header extension beyond the area",
      (dv) => {
        dv.setUint32(104, 0x6803f857);
        dv.setUint32(108, 0x7fffffff);
      },
      "corrupt",
    ],
    ["version 4", (dv) => dv.setUint32(4, 4), "unsupported"],
    [
      "a compression type without its bit",
      (dv) => {
        dv.setUint32(100, 112);
        dv.setUint8(104, 1);
      },
      "corrupt",
    ],
  ])("refuses %s", async (_, damage, code) => {
    await expect(open(image(damage))).rejects.toMatchObject({ code, layer: "qcow2" });
  });

  it("refuses every truncation of the header with one clear error", async () => {
    for (let length = 0; length < 104; length += 4) {
      await expect(open(image().subarray(0, length))).rejects.toMatchObject({ code: "corrupt" });
    }
  });

  it.each<[string, (dv: DataView) => void, RegExp]>([
    [
      "compression type 7",
      (dv) => {
        dv.setBigUint64(72, 8n);
        dv.setUint32(100, 112);
        dv.setUint8(104, 7);
      },
      /compression type 7/,
    ],
    ["old encryption", (dv) => dv.setUint32(32, 1), /legacy AES-CBC/],
    ["encryption of a later kind", (dv) => dv.setUint32(32, 3), /encryption method 3/],
    ["an unknown bit without a name", (dv) => dv.setBigUint64(72, 1n << 40n), /bit 40/],
    [
      "an unknown bit named by the image",
      (dv) => {
        dv.setBigUint64(72, 1n << 41n);
        dv.setUint32(104, 0x6803f857);
        dv.setUint32(108, 48);
        dv.setUint8(112, 0);
        dv.setUint8(113, 41);
        for (const [i, c] of [..."teleportation"].entries()) dv.setUint8(114 + i, c.charCodeAt(0));
      },
      /teleportation/,
    ],
  ])("shows the header and names what it cannot open: %s", async (_, damage, reason) => {
    const layer = await open(image(damage));
    expect(layer.locked?.code).toBe("unsupported");
    expect(layer.locked?.reason).toMatch(reason);
    expect(layer.children).toEqual([]);
    expect(layer.info.details.version).toBe(3);
  });

  it.each<[string, (dv: DataView) => void]>([
    ["no pointer to it", () => undefined],
    ["a pointer of another length", (dv) => dv.setUint32(108, 8)],
    ["a header on the image's own", (dv) => dv.setBigUint64(120, 4096n)],
    ["a header off its boundary", (dv) => dv.setBigUint64(112, 513n)],
    ["a header beyond the end", (dv) => dv.setBigUint64(112, 1n << 40n)],
    ["a header without LUKS in it", (dv) => dv.setBigUint64(112, BigInt(DATA))],
  ])("calls an encrypted image with %s corrupt", async (_, damage) => {
    const bytes = image((dv) => {
      dv.setUint32(32, 2);
      if (damage.length > 0) {
        dv.setUint32(104, 0x0537be77);
        dv.setUint32(108, 16);
        dv.setBigUint64(120, BigInt(CLUSTER));
      }
      damage(dv);
    });
    await expect(open(bytes)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("shows an image whose data file is not to be had, and says why it has no content", async () => {
    const layer = await open(image((dv) => dv.setBigUint64(72, 4n)));
    expect(layer.info.findings.map((f) => f.code)).toEqual(["qcow2-data-file"]);
    expect(layer.children[0]!.unavailable).toMatch(/does not name its data file/);
  });

  it.each<[string, bigint, string]>([["corrupt", 2n, "corrupt bit"]])(
    "reads an image marked %s and refuses to write it",
    async (name, bit, feature) => {
      const bytes = image((dv) => dv.setBigUint64(72, bit));
      const layer = await open(bytes);
      expect(layer.info.findings.map((f) => f.code)).toEqual([`qcow2-${name}`]);
      const first = new Uint8Array(4);
      await (await layer.children[0]!.open()).read(first, 0);
      expect(first[0]).toBe(0x11);
      await expect(disk(bytes, true)).rejects.toMatchObject({ code: "unsupported", feature, hint: /qemu-img check/ });
    },
  );

  it("goes on without a damaged snapshot table, but not for writing", async () => {
    const bytes = image((dv) => {
      dv.setUint32(60, 3);
      dv.setBigUint64(64, BigInt(7 * CLUSTER));
      dv.setUint32(7 * CLUSTER + 36, 0xffffffff);
    });
    const layer = await open(bytes);
    expect(layer.info.findings.map((f) => f.code)).toEqual(["qcow2-snapshot-table"]);
    await expect(disk(bytes, true)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("shows an image whose backing file is not to be had, and says why it has no content", async () => {
    const bytes = image((dv) => {
      dv.setBigUint64(8, 200n);
      dv.setUint32(16, 5);
      for (const [i, c] of [..."nbd:x"].entries()) dv.setUint8(200 + i, c.charCodeAt(0));
    });
    const layer = await open(bytes);
    expect(layer.info.findings.map((f) => f.code)).toEqual(["qcow2-backing-file"]);
    expect(layer.children[0]!.unavailable).toMatch(/nbd/);
    await expect(layer.children[0]!.open()).rejects.toMatchObject({ code: "unsupported" });
  });
});

describe("extended L2 entries that lie", () => {
  const SIZE = 16384;
  /** 16 KiB clusters: header, L1, refcount table, refcount block, L2, data. Guest cluster 0 has subclusters 0 and 1 filled, 2 zero. */
  const extended = (damage: (dv: DataView) => void = () => undefined): Uint8Array => {
    const bytes = new Uint8Array(7 * SIZE);
    bytes.set(image().subarray(0, 104));
    const dv = new DataView(bytes.buffer);
    dv.setUint32(20, 14);
    dv.setBigUint64(40, BigInt(SIZE));
    dv.setBigUint64(48, BigInt(2 * SIZE));
    dv.setBigUint64(72, 16n);
    dv.setBigUint64(SIZE, BigInt(4 * SIZE) | COPIED);
    dv.setBigUint64(2 * SIZE, BigInt(3 * SIZE));
    for (let i = 0; i < 6; i++) dv.setUint16(3 * SIZE + i * 2, 1);
    dv.setBigUint64(4 * SIZE, BigInt(5 * SIZE) | COPIED);
    dv.setUint32(4 * SIZE + 8, 0b100);
    dv.setUint32(4 * SIZE + 12, 0b011);
    bytes.fill(0x11, 5 * SIZE, 6 * SIZE);
    damage(dv);
    return bytes;
  };

  it("reads a sound one", async () => {
    const device = await disk(extended());
    const first = new Uint8Array(2048);
    await device.read(first, 0);
    expect([...new Set(first.subarray(0, 1024))]).toEqual([0x11]);
    expect([...new Set(first.subarray(1024))]).toEqual([0]);
  });

  it.each<[string, (dv: DataView) => void]>([
    ["a subcluster that is both allocated and zero", (dv) => dv.setUint32(4 * SIZE + 8, 0b110)],
    ["subclusters without a host cluster", (dv) => dv.setBigUint64(4 * SIZE, 0n)],
    ["the zero flag of a standard entry", (dv) => dv.setBigUint64(4 * SIZE, BigInt(5 * SIZE) | COPIED | 1n)],
    ["a compressed cluster with a bitmap", (dv) => dv.setBigUint64(4 * SIZE, COMPRESSED | BigInt(5 * SIZE))],
    ["a subcluster on the L1 table", (dv) => dv.setBigUint64(4 * SIZE, BigInt(SIZE) | COPIED)],
  ])("calls %s corrupt, reading and writing", async (_, damage) => {
    await expect((await disk(extended(damage))).read(new Uint8Array(16), 0)).rejects.toMatchObject({ code: "corrupt" });
    const device = await disk(extended(damage), true);
    await expect(device.write(new Uint8Array(16), 0)).rejects.toMatchObject({ code: "corrupt" });
    await expect(device.zero(0, 512)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("does not write into a cluster that is marked as not shared but counted twice", async () => {
    const device = await disk(
      extended((dv) => dv.setUint16(3 * SIZE + 10, 2)),
      true,
    );
    for (const at of [0, 1024, 8192]) {
      await expect(device.write(new Uint8Array(16), at)).rejects.toMatchObject({ code: "corrupt" });
    }
  });
});

describe("qcow2 tables that lie", () => {
  const read = async (damage: (dv: DataView) => void) => {
    const device = await disk(image(damage));
    await device.read(new Uint8Array(4 * CLUSTER), 0);
  };
  it.each<[string, (dv: DataView) => void]>([
    ["an L1 entry with reserved bits", (dv) => dv.setBigUint64(L1, BigInt(L2) | COPIED | 1n)],
    ["an L2 table off its boundary", (dv) => dv.setBigUint64(L1, BigInt(L2) + 256n)],
    ["an L2 table beyond the end", (dv) => dv.setBigUint64(L1, (1n << 40n) | COPIED)],
    ["an L2 table on the L1 table", (dv) => dv.setBigUint64(L1, BigInt(L1) | COPIED)],
    ["a cluster beyond the end", (dv) => dv.setBigUint64(L2, (1n << 40n) | COPIED)],
    ["a cluster on the refcount table", (dv) => dv.setBigUint64(L2, BigInt(REFCOUNT_TABLE) | COPIED)],
    ["a cluster on the header", (dv) => dv.setBigUint64(L2, COPIED)],
    ["an L2 entry with reserved bits", (dv) => dv.setBigUint64(L2, BigInt(DATA) | 2n)],
    ["a compressed cluster beyond the end", (dv) => dv.setBigUint64(L2, COMPRESSED | (1n << 40n))],
    ["a compressed cluster on the header", (dv) => dv.setBigUint64(L2, COMPRESSED | 4n)],
    ["a compressed cluster of garbage", (dv) => dv.setBigUint64(L2, COMPRESSED | BigInt(DATA))],
    [
      "a damaged zstd cluster",
      (dv) => {
        dv.setBigUint64(72, 8n);
        dv.setUint32(100, 112);
        dv.setUint8(104, 1);
        dv.setBigUint64(L2, COMPRESSED | BigInt(DATA));
        // A frame whose one block of 100 bytes, called compressed, is 0x11 throughout.
        for (const [i, b] of [0x28, 0xb5, 0x2f, 0xfd, 0x20, 200, 0x25, 0x03, 0].entries()) dv.setUint8(DATA + i, b);
      },
    ],
    ["a compressed cluster with COPIED", (dv) => dv.setBigUint64(L2, COMPRESSED | COPIED | BigInt(DATA))],
    [
      "a zero cluster in version 2",
      (dv) => {
        dv.setUint32(4, 2);
        dv.setBigUint64(L2, 1n);
      },
    ],
  ])("a read meets %s", async (_, damage) => {
    await expect(read(damage)).rejects.toMatchObject({ code: "corrupt", layer: "qcow2" });
  });

  it.each<[string, (dv: DataView) => void, number]>([
    ["a shared cluster marked as not shared", (dv) => dv.setUint16(REFCOUNT_BLOCK + 10, 2), 0],
    ["a used cluster with the refcount 0", (dv) => dv.setUint16(REFCOUNT_BLOCK + 10, 0), 0],
    ["an L2 table with the refcount 2", (dv) => dv.setUint16(REFCOUNT_BLOCK + 8, 2), 0],
    ["the refcount 0 on the L1 table, when it allocates", (dv) => dv.setUint16(REFCOUNT_BLOCK + 2, 0), 1],
    ["the refcount 0 on the header, when it allocates", (dv) => dv.setUint16(REFCOUNT_BLOCK, 0), 1],
    ["the refcount 0 on a refcount block, when it allocates", (dv) => dv.setUint16(REFCOUNT_BLOCK + 6, 0), 1],
    ["guest data on a refcount block", (dv) => dv.setBigUint64(L2, BigInt(REFCOUNT_BLOCK) | COPIED), 0],
    ["guest data on its own L2 table", (dv) => dv.setBigUint64(L2, BigInt(L2) | COPIED), 0],
    ["a refcount block off its boundary", (dv) => dv.setBigUint64(REFCOUNT_TABLE, BigInt(REFCOUNT_BLOCK) + 1n), 1],
    ["a refcount block beyond the end", (dv) => dv.setBigUint64(REFCOUNT_TABLE, 1n << 40n), 1],
  ])("a write meets %s and changes nothing", async (_, damage, guestCluster) => {
    const bytes = image(damage);
    const file = memoryDevice(bytes);
    const layer = await qcow2Driver.open([file], context(true));
    const device = await layer.children[0]!.open();
    await expect(device.write(new Uint8Array(CLUSTER).fill(0x22), guestCluster * CLUSTER)).rejects.toMatchObject({
      code: "corrupt",
      layer: "qcow2",
    });
    await device[Symbol.asyncDispose]();
    await layer[Symbol.asyncDispose]();
    expect(Buffer.compare(file.bytes().subarray(0, bytes.length), image(damage))).toBe(0);
  });

  it("reads a last cluster that the file's end cuts short, with zeros behind", async () => {
    const bytes = image().subarray(0, DATA + 100);
    const device = await disk(bytes);
    const first = new Uint8Array(CLUSTER);
    await device.read(first, 0);
    expect(first.subarray(0, 100).every((b) => b === 0x11)).toBe(true);
    expect(first.subarray(100).every((b) => b === 0)).toBe(true);
  });
});

describe("qcow2 images with random damage", () => {
  it("give bytes or a StorageError, reading and writing", async () => {
    const field = fc.constantFrom(
      8,
      16,
      20,
      24,
      32,
      36,
      40,
      48,
      56,
      60,
      64,
      72,
      88,
      96,
      100,
      104,
      L1,
      REFCOUNT_TABLE,
      L2,
    );
    const place = fc.oneof(field, fc.integer({ min: 8, max: 8 * CLUSTER - 8 }));
    const value = fc.oneof(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.integer({ min: 0, max: 12 }).map((n) => BigInt(n * CLUSTER) | COPIED),
      fc.integer({ min: 0, max: 12 }).map((n) => BigInt(n * CLUSTER)),
      fc.integer({ min: 0, max: 8 * CLUSTER }).map((n) => COMPRESSED | BigInt(n)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 4 }), async (damages) => {
        const bytes = image((dv) => {
          for (const [at, v] of damages) dv.setBigUint64(at, v);
        });
        const foreign = (error: unknown) => {
          if (!(error instanceof StorageError)) throw error;
        };
        for (const writable of [false, true]) {
          const layer = await open(Uint8Array.from(bytes), writable).catch(foreign);
          const device = await layer?.children[0]?.open().catch(foreign);
          if (!layer || !device) continue;
          const length = Math.min(device.size, 32768);
          await device.read(new Uint8Array(length), 0).catch(foreign);
          if (writable) {
            await device.write(new Uint8Array(Math.min(3000, device.size)), 0).catch(foreign);
            await device.zero(0, length).catch(foreign);
            await device.discard(0, length).catch(foreign);
            await Promise.resolve(device[Symbol.asyncDispose]()).catch(foreign);
          }
          await Promise.resolve(layer[Symbol.asyncDispose]()).catch(foreign);
        }
      }),
      { numRuns: Number(process.env.QCOW2_RUNS ?? 500) },
    );
  });
});

describe("the probe", () => {
  const probe = (bytes: Uint8Array) =>
    probeQcow2({
      size: bytes.length,
      sectorSize: 512,
      read: async (at, length) => bytes.subarray(at, at + length),
    });
  it("takes versions 2 and 3 only", async () => {
    expect(await probe(image())).not.toBeNull();
    expect(await probe(image((dv) => dv.setUint32(4, 2)))).not.toBeNull();
    expect(await probe(image((dv) => dv.setUint32(4, 1)))).toBeNull();
    expect(await probe(image((dv) => dv.setUint8(0, 0)))).toBeNull();
    expect(await probe(new Uint8Array(7))).toBeNull();
  });
});
