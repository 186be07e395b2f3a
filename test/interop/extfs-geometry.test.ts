import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { GroupFlag, readGeometry } from "../../src/extfs/geometry.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const FLAG_NAMES: Record<string, number> = {
  INODE_UNINIT: GroupFlag.INODE_UNINIT,
  BLOCK_UNINIT: GroupFlag.BLOCK_UNINIT,
  ITABLE_ZEROED: GroupFlag.INODE_ZEROED,
};

interface Expected {
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  readonly lastTableBlock: number;
  readonly flags: number;
  readonly itableUnused: number;
  readonly usedDirs: number;
  readonly superblock: boolean;
}

/** What dumpe2fs prints of each group. */
function groupsOf(path: string): Expected[] {
  const text = run("dumpe2fs", path);
  return text
    .split(/^Group \d+: /m)
    .slice(1)
    .map((part) => {
      const number = (pattern: RegExp) => Number(pattern.exec(part)?.[1] ?? 0);
      const flags = /\[([A-Z_, ]+)\]/.exec(part.split("\n", 1)[0]!)?.[1]?.split(", ") ?? [];
      return {
        blockBitmap: number(/Block bitmap at (\d+)/),
        inodeBitmap: number(/Inode bitmap at (\d+)/),
        inodeTable: number(/Inode table at (\d+)-/),
        lastTableBlock: number(/Inode table at \d+-(\d+)/),
        flags: flags.reduce((sum, name) => sum | FLAG_NAMES[name]!, 0),
        itableUnused: number(/(\d+) unused inodes/),
        usedDirs: number(/(\d+) directories/),
        superblock: /superblock at \d+/.test(part),
      };
    });
}

const SHAPES: readonly (readonly [string, string, ...string[]])[] = [
  ["ext2, 1 KiB blocks", "64M", "-t", "ext2", "-b", "1024"],
  ["ext3", "300M", "-t", "ext3"],
  ["ext4, 64bit", "600M", "-t", "ext4", "-O", "64bit"],
  ["ext4 without 64bit and metadata_csum, uninit_bg", "600M", "-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg"],
  ["uninit_bg with 64bit", "600M", "-t", "ext4", "-O", "64bit,^metadata_csum,uninit_bg"],
  ["meta_bg, 1 KiB blocks", "1200M", "-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
  ["meta_bg without sparse_super", "500M", "-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^sparse_super"],
  ["sparse_super2", "700M", "-t", "ext4", "-b", "1024", "-O", "sparse_super2"],
  ["bigalloc", "400M", "-t", "ext4", "-O", "bigalloc", "-C", "65536"],
  ["bigalloc, 1 KiB blocks", "400M", "-t", "ext4", "-O", "bigalloc", "-b", "1024", "-C", "16384"],
  ["no flex_bg, inodes of 128 bytes", "500M", "-t", "ext4", "-O", "^flex_bg,^inline_data", "-I", "128"],
  ["64 KiB blocks", "200M", "-t", "ext4", "-b", "65536"],
  ["a seed of its own", "100M", "-t", "ext4", "-O", "metadata_csum_seed", "-U", "random"],
];

describe("geometry beside dumpe2fs", () => {
  it.each(SHAPES)("%s", async (name, size, ...args) => {
    const path = join(folder.path, `${name.replaceAll(/\W/g, "-")}.img`);
    run("mke2fs", "-q", "-F", ...args, path, size);
    await using device = openFileDevice(path);
    const geometry = await readGeometry(device);
    const expected = groupsOf(path);
    expect(expected.length).toBeGreaterThan(0);
    expect(geometry.groupCount).toBe(expected.length);
    for (const [i, group] of expected.entries()) {
      const { lastTableBlock, superblock, ...fields } = group;
      expect(geometry.group(i), `group ${i}`).toEqual(fields);
      expect(geometry.group(i).inodeTable + geometry.inodeTableBlocks - 1).toBe(lastTableBlock);
      expect(geometry.hasSuperblock(i), `superblock in group ${i}`).toBe(superblock);
      geometry.verifyGroup(i);
    }
  });
});

describe("hostile geometry", () => {
  const bytesOf = async (): Promise<Uint8Array> => {
    const path = join(folder.path, "small.img");
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum", path, "8M");
    await using device = openFileDevice(path);
    const bytes = new Uint8Array(device.size);
    await device.read(bytes, 0);
    return bytes;
  };
  const fields: readonly (readonly [string, number, number])[] = [
    ["s_log_block_size", 0x18, 60],
    ["s_blocks_per_group", 0x20, 0],
    ["s_blocks_per_group", 0x20, 0xffffffff],
    ["s_inodes_per_group", 0x28, 0xfffffff0],
    ["s_inode_size", 0x58, 0x7fff],
    ["s_blocks_count", 0x4, 0xffffffff],
    ["s_first_data_block", 0x14, 0xffff],
    ["s_desc_size", 0xfc, 0x00210000],
  ];
  it.each(fields)("%s at %i as %i is corrupt", async (_name, at, value) => {
    const bytes = await bytesOf();
    new DataView(bytes.buffer).setUint32(1024 + at, value, true);
    await expect(readGeometry(memoryDevice(bytes))).rejects.toMatchObject({ code: "corrupt", layer: "ext" });
  });

  it("names the limit for more descriptors than are wanted", async () => {
    const device = memoryDevice(await bytesOf());
    await expect(readGeometry(device, { ...DEFAULT_LIMITS, extDescriptorBytes: 16 })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringContaining("extDescriptorBytes"),
    });
  });

  it("finds a descriptor whose checksum is wrong, and a table outside", async () => {
    const path = join(folder.path, "sums.img");
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", path, "32M");
    await using file = openFileDevice(path);
    const bytes = new Uint8Array(file.size);
    await file.read(bytes, 0);
    const size = new DataView(bytes.buffer).getUint16(1024 + 0xfe, true) || 32;
    bytes[2048 + size + 0xb] = 0xff;
    const geometry = await readGeometry(memoryDevice(bytes));
    geometry.verifyGroup(0);
    expect(() => geometry.verifyGroup(1)).toThrow(/checksum/);
    expect(() => geometry.group(1)).toThrow(/inode table of group 1/);
  });

  it("is a wrong format on zeros", async () => {
    const path = join(folder.path, "zeros.img");
    sparseFile(path, 1 << 20);
    await using device = openFileDevice(path);
    await expect(readGeometry(device)).rejects.toMatchObject({ code: "corrupt" });
  });
});
