import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { findPath } from "../../src/extfs/path.ts";
import { type ExtInode, type ExtVolume, openExt } from "../../src/extfs/volume.ts";
import { boundedExtents } from "../../src/usecases/file-tree.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** A small volume with every kind of structure; `args` for mke2fs. */
async function volumeOf(name: string, ...args: string[]): Promise<Uint8Array> {
  const source = join(folder.path, "source");
  const image = join(folder.path, `${name}.img`);
  run("mke2fs", "-q", "-F", "-b", "1024", ...args, "-d", source, image, "4M");
  await using device = openFileDevice(image);
  return readBytes(device, 0, device.size);
}

beforeAll(() => {
  const at = (name: string) => join(folder.path, "source", name);
  mkdirSync(at("folder/inner/deeper"), { recursive: true });
  for (let i = 0; i < 120; i++) writeFileSync(at(`folder/a name to fill the blocks ${i}`), "x".repeat(i));
  writeFileSync(at("large"), Buffer.alloc(400_000, "data"));
  symlinkSync("folder/inner", at("link"));
  symlinkSync(`folder/${"./".repeat(60)}inner`, at("long link"));
});

/** Counts what is read, so that a test can say how much is too much. */
function counting(device: BlockDevice): { device: BlockDevice; bytes: () => number } {
  let bytes = 0;
  const wrapped: BlockDevice = Object.create(device, {
    size: { value: device.size },
    caps: { value: device.caps },
    read: {
      value: (into: Uint8Array, offset: number) => {
        bytes += into.length;
        return device.read(into, offset);
      },
    },
    extents: { value: (offset: number, length: number) => device.extents(offset, length) },
  });
  return { device: wrapped, bytes: () => bytes };
}

/** Reads all that can be reached; damage of one file does not end it. Anything but a StorageError is thrown. */
async function readAll(volume: ExtVolume): Promise<number> {
  let files = 0;
  const budget = { left: 64 << 20 };
  const seen = new Set<number>();
  const tolerate = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  };
  const visit = async (inode: ExtInode): Promise<void> => {
    files++;
    if (seen.has(inode.number)) return;
    seen.add(inode.number);
    await tolerate(async () => void (await volume.attributes(inode)));
    if (inode.type === "symlink") await tolerate(async () => void (await volume.linkTarget(inode)));
    if (inode.type === "file")
      await tolerate(async () => {
        const content = volume.content(inode);
        for await (const extent of boundedExtents(content, budget, {}))
          if (extent.kind === "data") await readBytes(content, extent.offset, Math.min(extent.length, 65536));
      });
    if (inode.type === "directory")
      await tolerate(async () => {
        for await (const entry of volume.entries(inode))
          await tolerate(async () => visit(await volume.inode(entry.inode)));
      });
  };
  await tolerate(async () => visit(await volume.root()));
  await tolerate(async () => void (await findPath(volume, "/long link/deeper/..", { followLast: true })));
  return files;
}

function random(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor((x / 2 ** 32) * below);
  };
}

describe("random damage", () => {
  const KINDS: readonly (readonly [string, ...string[]])[] = [
    ["extents without checksums", "-t", "ext4", "-O", "^metadata_csum,^64bit"],
    ["indirect blocks", "-t", "ext2"],
    ["inline data", "-t", "ext4", "-O", "inline_data,^metadata_csum"],
    ["checksums", "-t", "ext4"],
  ];
  it.each(KINDS)("%s: only StorageErrors, and bounded reads", async (name, ...args) => {
    const clean = await volumeOf(name.replaceAll(/\W/g, "-"), ...args);
    // Where nothing is, damage shows nothing: of each block that holds something, its beginning is hit most.
    const blocks = Array.from({ length: clean.length / 1024 }, (_, i) => i).filter((i) =>
      clean.subarray(i * 1024, (i + 1) * 1024).some((b) => b !== 0),
    );
    const whole = await readAll(await openExt(memoryDevice(clean.slice())));
    expect(whole).toBeGreaterThan(120);
    const next = random(name.length * 7919);
    let refused = 0;
    for (let round = 0; round < 150; round++) {
      const bytes = clean.slice();
      for (let i = 1 + next(6); i > 0; i--) {
        const block = blocks[next(Math.min(blocks.length, 40 + next(blocks.length)))]!;
        const value = [0, 0xff, 1, 0x80, next(256)][next(5)]!;
        bytes[block * 1024 + next(next(2) === 0 ? 1024 : 128)] = value;
      }
      const { device, bytes: read } = counting(memoryDevice(bytes));
      try {
        await using volume = await openExt(device);
        await readAll(volume);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        refused++;
      }
      expect(read(), `round ${round}`).toBeLessThan(256 << 20);
    }
    expect(refused).toBeLessThan(150);
  });
});

describe("crafted volumes", () => {
  const inodeAt = async (bytes: Uint8Array, path: string): Promise<{ at: number; number: number }> => {
    const volume = await openExt(memoryDevice(bytes));
    const inode = await findPath(volume, path, { followLast: false });
    return { at: inode.offset, number: inode.number };
  };
  const code = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => "no error",
      (error: unknown) => (error instanceof StorageError ? error.code : String(error)),
    );
  const plain = ["-t", "ext4", "-O", "^metadata_csum,^64bit,^uninit_bg"];

  it("an extent index that points to itself is corrupt", async () => {
    const bytes = await volumeOf("cycle", ...plain);
    const { at, number } = await inodeAt(bytes, "/large");
    const dv = new DataView(bytes.buffer);
    const block = 3000;
    const node = (where: number, depth: number) => {
      dv.setUint16(where, 0xf30a, true);
      dv.setUint16(where + 2, 1, true);
      dv.setUint16(where + 4, 4, true);
      dv.setUint16(where + 6, depth, true);
      dv.setUint32(where + 12, 0, true);
      dv.setUint32(where + 16, block, true);
      dv.setUint16(where + 20, 0, true);
    };
    node(at + 0x28, 5);
    node(block * 1024, 4);
    const volume = await openExt(memoryDevice(bytes));
    const content = volume.content(await volume.inode(number));
    expect(await code(readBytes(content, 0, 1024))).toBe("corrupt");
  });

  it("indirect blocks that point to themselves end with the volume's size", async () => {
    const bytes = await volumeOf("indirect", "-t", "ext2");
    const { at, number } = await inodeAt(bytes, "/large");
    const dv = new DataView(bytes.buffer);
    const block = 3000;
    for (let i = 0; i < 256; i++) dv.setUint32(block * 1024 + i * 4, block, true);
    for (const i of [12, 13, 14]) dv.setUint32(at + 0x28 + i * 4, block, true);
    dv.setUint32(at + 4, 0xffffffff, true);
    const volume = await openExt(memoryDevice(bytes));
    const content = volume.content(await volume.inode(number));
    const all = async () => {
      for await (const _ of boundedExtents(content, { left: bytes.length }, {}));
    };
    expect(await code(all())).toBe("corrupt");
  });

  it("a file of the largest size that is one hole costs nothing", async () => {
    const bytes = await volumeOf("giant", "-t", "ext2");
    const { at, number } = await inodeAt(bytes, "/large");
    const dv = new DataView(bytes.buffer);
    bytes.fill(0, at + 0x28, at + 0x28 + 60);
    dv.setUint32(at + 4, 0xffffffff, true);
    dv.setUint32(at + 0x6c, 0x1fffff, true);
    const volume = await openExt(memoryDevice(bytes));
    const content = volume.content(await volume.inode(number));
    const kinds: string[] = [];
    for await (const extent of content.extents(0, content.size)) kinds.push(extent.kind);
    expect(new Set(kinds)).toEqual(new Set(["hole"]));
    expect(kinds.length).toBeLessThan(1000);
    dv.setUint32(at + 0x6c, 0xffffffff, true);
    const other = await openExt(memoryDevice(bytes));
    expect(await code(other.inode(number))).toBe("corrupt");
  });

  it("an encrypted folder and an unknown feature are refused by name", async () => {
    const bytes = await volumeOf("features", ...plain);
    const { at, number } = await inodeAt(bytes, "/folder");
    const dv = new DataView(bytes.buffer);
    dv.setUint32(at + 0x20, dv.getUint32(at + 0x20, true) + 0x800, true);
    const volume = await openExt(memoryDevice(bytes));
    const names = async () => {
      for await (const _ of volume.entries(await volume.inode(number)));
    };
    await expect(names()).rejects.toMatchObject({ code: "unsupported", feature: "encrypt" });
    for (const [bit, feature] of [
      [0x1, "compression"],
      [0x1000, "dirdata"],
      [0x80000, "FEATURE_I19"],
    ] as const) {
      const changed = bytes.slice();
      const word = new DataView(changed.buffer);
      word.setUint32(1024 + 0x60, word.getUint32(1024 + 0x60, true) + bit, true);
      await expect(openExt(memoryDevice(changed))).rejects.toMatchObject({ code: "unsupported", feature });
    }
  });

  it("symbolic links that lead to each other end", async () => {
    const source = join(folder.path, "source");
    symlinkSync("round2", join(source, "round1"));
    symlinkSync("round1/x", join(source, "round2"));
    const volume = await openExt(memoryDevice(await volumeOf("links", ...plain)));
    expect(await code(findPath(volume, "/round1", { followLast: true }))).toBe("usage");
  });
});
