import { crc16Raw, crc32cRaw } from "../bytes/crc.ts";
import { view } from "../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { withinLimit } from "../core/numbers.ts";
import { ExtCompat, ExtIncompat, ExtRoCompat } from "../filesystems/ext-features.ts";
import { type ExtShape, readShape } from "./superblock.ts";

/** Most bytes of one read of the descriptor table. */
const CHUNK = 4 * 1024 * 1024;
/** bg_checksum in struct ext4_group_desc (group_descr.rst). */
const CHECKSUM_AT = 0x1e;

/** bg_flags. */
export const GroupFlag = { INODE_UNINIT: 0x1, BLOCK_UNINIT: 0x2, INODE_ZEROED: 0x4 } as const;

/** One block group. Block numbers are validated to lie inside the file system. */
export interface ExtGroup {
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  /** First block of `inodeTableBlocks`. */
  readonly inodeTable: number;
  /** GroupFlag; 0 where no descriptor checksums are kept, because the flags do not count then. */
  readonly flags: number;
  /** Inodes at the end of the table that were never used; 0 where no descriptor checksums are kept. */
  readonly itableUnused: number;
  readonly usedDirs: number;
}

export interface ExtGeometry extends ExtShape {
  /** Group `index` from 0. Throws `corrupt` when a block number in its descriptor lies outside the file system. */
  group(index: number): ExtGroup;
  /** Throws `corrupt` when the descriptor's checksum is wrong; nothing without metadata_csum and uninit_bg. */
  verifyGroup(index: number): void;
  /** True when group `index` begins with a copy of the superblock. */
  hasSuperblock(index: number): boolean;
}

/**
 * Where an ext file system keeps its metadata: the superblock and all group descriptors, read in large pieces.
 * Descriptors are decoded (and judged) when asked for, so one bad descriptor spoils no other group.
 */
export async function readGeometry(device: BlockDevice, limits: Limits = DEFAULT_LIMITS): Promise<ExtGeometry> {
  const shape = await readShape(device);
  const bytes = shape.groupCount * shape.descriptorSize;
  withinLimit(bytes, limits.extDescriptorBytes, "extDescriptorBytes", "bytes of group descriptors", "ext");
  const table = await readTable(device, shape);
  return {
    ...shape,
    group: (index) => decodeGroup(shape, table, index),
    verifyGroup: (index) => verify(shape, table, index),
    hasSuperblock: (index) => hasSuperblock(shape, index),
  };
}

/** "Sparse superblocks": with sparse_super in groups 0, 1 and powers of 3, 5 and 7; sparse_super2 names its two (blockgroup.rst). */
function hasSuperblock(shape: ExtShape, group: number): boolean {
  if (group === 0) return true;
  const { backupGroup0, backupGroup1 } = shape.superblock;
  if (shape.compat & ExtCompat.SPARSE_SUPER2) return group === backupGroup0 || group === backupGroup1;
  if (group === 1 || !(shape.roCompat & ExtRoCompat.SPARSE_SUPER)) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

/** Block of the descriptor table's block `index` (kernel, fs/ext4/super.c, descriptor_loc). */
function descriptorBlock(shape: ExtShape, index: number): number {
  const { blockSize, firstDataBlock, superblock, incompat } = shape;
  const superblockBlock = blockSize === 1024 ? 1 : 0;
  if (!(incompat & ExtIncompat.META_BG) || index < superblock.firstMetaGroup) return superblockBlock + 1 + index;
  const group = index * Math.floor(blockSize / shape.descriptorSize);
  // Where blocks are 1 KiB and counted from 0, block 0 is the boot sector and the superblock is the next.
  const boot = blockSize === 1024 && index === 0 && firstDataBlock === 0 ? 1 : 0;
  return firstDataBlock + group * shape.blocksPerGroup + (hasSuperblock(shape, group) ? 1 : 0) + boot;
}

async function readTable(device: BlockDevice, shape: ExtShape): Promise<Uint8Array> {
  const { blockSize } = shape;
  const perBlock = Math.floor(blockSize / shape.descriptorSize);
  const count = Math.ceil(shape.groupCount / perBlock);
  const out = new Uint8Array(count * blockSize);
  for (let i = 0; i < count; ) {
    const first = descriptorBlock(shape, i);
    let run = 1;
    while (i + run < count && (run + 1) * blockSize <= CHUNK && descriptorBlock(shape, i + run) === first + run) run++;
    if (first + run > shape.blocks) {
      throw new StorageError("corrupt", "the group descriptors reach beyond the end of the file system", {
        layer: "ext",
        offset: first * blockSize,
      });
    }
    out.set(await readBytes(device, first * blockSize, run * blockSize), i * blockSize);
    i += run;
  }
  return out;
}

function descriptorOf(shape: ExtShape, table: Uint8Array, index: number): Uint8Array {
  if (!Number.isInteger(index) || index < 0 || index >= shape.groupCount)
    throw new StorageError("range", `there is no block group ${index}`, { layer: "ext" });
  return table.subarray(index * shape.descriptorSize, (index + 1) * shape.descriptorSize);
}

function hasChecksums(shape: ExtShape): boolean {
  return (shape.roCompat & (ExtRoCompat.UNINIT_BG | ExtRoCompat.METADATA_CSUM)) !== 0;
}

/** struct ext4_group_desc (group_descr.rst). The high halves are there in descriptors of 64 bytes. */
function decodeGroup(shape: ExtShape, table: Uint8Array, index: number): ExtGroup {
  const dv = view(descriptorOf(shape, table, index));
  const wide = shape.descriptorSize >= 64;
  const u32 = (low: number, high: number) =>
    dv.getUint32(low, true) + (wide ? dv.getUint32(high, true) * 0x1_0000_0000 : 0);
  const u16 = (low: number, high: number) => dv.getUint16(low, true) + (wide ? dv.getUint16(high, true) * 0x1_0000 : 0);
  const place = (block: number, count: number, what: string): number => {
    if (block < shape.firstDataBlock || block + count > shape.blocks) {
      throw new StorageError("corrupt", `the ${what} of group ${index} is said to be at block ${block}`, {
        layer: "ext",
        offset: descriptorBlock(shape, Math.floor((index * shape.descriptorSize) / shape.blockSize)) * shape.blockSize,
      });
    }
    return block;
  };
  const summed = hasChecksums(shape);
  return {
    blockBitmap: place(u32(0x0, 0x20), 1, "block bitmap"),
    inodeBitmap: place(u32(0x4, 0x24), 1, "inode bitmap"),
    inodeTable: place(u32(0x8, 0x28), shape.inodeTableBlocks, "inode table"),
    flags: summed ? dv.getUint16(0x12, true) : 0,
    itableUnused: summed ? Math.min(u16(0x1c, 0x32), shape.inodesPerGroup) : 0,
    usedDirs: u16(0x10, 0x30),
  };
}

/** "Checksums" and group_descr.rst: CRC-32C cut to 16 bits with metadata_csum, else CRC-16 with uninit_bg. */
function verify(shape: ExtShape, table: Uint8Array, index: number): void {
  if (!hasChecksums(shape)) return;
  const raw = descriptorOf(shape, table, index);
  const stored = view(raw).getUint16(CHECKSUM_AT, true);
  const number = new Uint8Array(4);
  view(number).setUint32(0, index, true);
  const after = raw.subarray(CHECKSUM_AT + 2);
  let sum: number;
  if (shape.checksumSeed !== null) {
    sum = crc32cRaw(number, shape.checksumSeed);
    sum = crc32cRaw(raw.subarray(0, CHECKSUM_AT), sum);
    sum = crc32cRaw(new Uint8Array(2), sum);
    sum = crc32cRaw(after, sum) & 0xffff;
  } else {
    sum = crc16Raw(shape.superblock.uuid, 0xffff);
    sum = crc16Raw(number, sum);
    sum = crc16Raw(raw.subarray(0, CHECKSUM_AT), sum);
    if (shape.incompat & ExtIncompat.BIT64) sum = crc16Raw(after, sum);
  }
  if (sum !== stored) {
    throw new StorageError("corrupt", `the descriptor of group ${index} has a wrong checksum`, {
      layer: "ext",
      offset: descriptorBlock(shape, Math.floor((index * shape.descriptorSize) / shape.blockSize)) * shape.blockSize,
      hint: "unterbau check shows what e2fsck would do about it",
    });
  }
}
