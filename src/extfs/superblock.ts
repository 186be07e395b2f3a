import { crc32cRaw } from "../bytes/crc.ts";
import { isPowerOfTwo } from "../bytes/integers.ts";
import { type BlockDevice, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { safeNumber } from "../core/numbers.ts";
import { ExtIncompat, ExtRoCompat } from "../filesystems/ext-features.ts";
import {
  EXT_CHECKSUM_OFFSET,
  EXT_MAGIC,
  EXT_SUPERBLOCK,
  EXT_SUPERBLOCK_OFFSET,
  EXT_SUPERBLOCK_SIZE,
  type ExtSuperblock,
} from "../filesystems/ext-superblock.ts";

/** 64 KiB blocks (e2fsprogs, lib/ext2fs/ext2_fs.h, EXT2_MAX_BLOCK_LOG_SIZE); clusters may be up to 2^29 bytes. */
const MAX_LOG_BLOCK_SIZE = 6;
const MAX_LOG_CLUSTER_SIZE = 19;
/** Revision 0 had no field for the inode's size. */
const OLD_INODE_SIZE = 128;
const MIN_DESCRIPTOR_SIZE = 32;
const MIN_DESCRIPTOR_SIZE_64 = 64;
const MAX_DESCRIPTOR_SIZE = 1024;
/** s_checksum_type: CRC-32C is the only one there is. */
const CHECKSUM_CRC32C = 1;

/** The shape of an ext file system, as its superblock says and within what the device can hold. Blocks are file-system blocks. */
export interface ExtShape {
  /** Bytes. */
  readonly blockSize: number;
  readonly blocks: number;
  /** The block that group 0 begins with: 1 where blocks are 1 KiB (but 0 with bigalloc), else 0. */
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  /** Blocks in the unit of allocation; 1 without bigalloc. */
  readonly clusterBlocks: number;
  readonly groupCount: number;
  readonly inodes: number;
  readonly inodesPerGroup: number;
  /** Bytes, 128 to the block size. */
  readonly inodeSize: number;
  /** Blocks of one group's inode table. */
  readonly inodeTableBlocks: number;
  /** Bytes of one group descriptor. */
  readonly descriptorSize: number;
  /** The three feature words (constants in filesystems/ext-features.ts). */
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  /** What every CRC-32C of the metadata starts with; null without metadata_csum. */
  readonly checksumSeed: number | null;
  readonly superblock: ExtSuperblock;
}

function corrupt(message: string): StorageError {
  return new StorageError("corrupt", message, {
    layer: "ext",
    offset: EXT_SUPERBLOCK_OFFSET,
    hint: "unterbau check shows what e2fsck would do about it",
  });
}

/**
 * Reads the primary superblock and validates what sizes anything (the kernel's own demands: fs/ext4/super.c, __ext4_fill_super).
 * Throws `corrupt` for a superblock that contradicts itself or the device, `unsupported` for a journal device.
 */
export async function readShape(device: BlockDevice): Promise<ExtShape> {
  if (device.size < EXT_SUPERBLOCK_OFFSET + EXT_SUPERBLOCK_SIZE) throw corrupt("too small for an ext file system");
  return shapeOf(await readBytes(device, EXT_SUPERBLOCK_OFFSET, EXT_SUPERBLOCK_SIZE), device.size);
}

/** The same from the superblock's 1024 bytes, for a device of `size` bytes. */
export function shapeOf(raw: Uint8Array, size: number): ExtShape {
  const sb = EXT_SUPERBLOCK.decode(raw);
  if (sb.magic !== EXT_MAGIC) throw corrupt("there is no ext superblock");
  const { featureIncompat: incompat, featureRoCompat: roCompat, featureCompat: compat } = sb;
  if (incompat & ExtIncompat.JOURNAL_DEV) {
    throw new StorageError("unsupported", "this is a journal on a device of its own, without files", {
      layer: "ext",
      feature: "journal_dev",
    });
  }
  const checksumSeed = roCompat & ExtRoCompat.METADATA_CSUM ? seedOf(sb, raw) : null;
  if (sb.logBlockSize > MAX_LOG_BLOCK_SIZE) throw corrupt(`s_log_block_size is ${sb.logBlockSize}`);
  const blockSize = 1024 * 2 ** sb.logBlockSize;
  const clusterBlocks = clusterOf(sb);
  const wide = (incompat & ExtIncompat.BIT64) !== 0;
  const blocks = safeNumber(
    BigInt(sb.blocksCountLo) + (wide ? BigInt(sb.blocksCountHi) * 0x1_0000_0000n : 0n),
    "s_blocks_count",
    "ext",
    EXT_SUPERBLOCK_OFFSET,
  );
  if (blocks > Math.floor(size / blockSize)) {
    throw corrupt(`it has ${blocks} blocks of ${blockSize} bytes, but only ${size} bytes are there`);
  }
  if (sb.firstDataBlock >= blocks || sb.firstDataBlock > 1)
    throw corrupt(`s_first_data_block is ${sb.firstDataBlock} of ${blocks}`);
  const { blocksPerGroup, inodesPerGroup } = sb;
  const clustersPerGroup = blocksPerGroup / clusterBlocks;
  if (blocksPerGroup === 0 || !Number.isInteger(clustersPerGroup) || clustersPerGroup > 8 * blockSize)
    throw corrupt(`s_blocks_per_group is ${blocksPerGroup}`);
  const inodeSize = sb.revision === 0 ? OLD_INODE_SIZE : sb.inodeSize;
  if (!isPowerOfTwo(inodeSize) || inodeSize < OLD_INODE_SIZE || inodeSize > blockSize)
    throw corrupt(`s_inode_size is ${inodeSize}`);
  if (inodesPerGroup === 0 || inodesPerGroup > 8 * blockSize) throw corrupt(`s_inodes_per_group is ${inodesPerGroup}`);
  const groupCount = Math.ceil((blocks - sb.firstDataBlock) / blocksPerGroup);
  if (groupCount * inodesPerGroup !== sb.inodesCount)
    throw corrupt(`s_inodes_count is ${sb.inodesCount}, but ${groupCount} groups have ${inodesPerGroup} inodes each`);
  return {
    blockSize,
    blocks,
    firstDataBlock: sb.firstDataBlock,
    blocksPerGroup,
    clusterBlocks,
    groupCount,
    inodes: sb.inodesCount,
    inodesPerGroup,
    inodeSize,
    inodeTableBlocks: Math.ceil((inodesPerGroup * inodeSize) / blockSize),
    descriptorSize: wide ? wideDescriptor(sb.descriptorSize) : MIN_DESCRIPTOR_SIZE,
    compat,
    incompat,
    roCompat,
    checksumSeed,
    superblock: sb,
  };
}

/** Checks the superblock's own sum ("Checksums" in super.rst), and gives the seed of all others. */
function seedOf(sb: ExtSuperblock, raw: Uint8Array): number {
  if (sb.checksumType !== CHECKSUM_CRC32C) throw corrupt(`s_checksum_type is ${sb.checksumType}`);
  if (crc32cRaw(raw.subarray(0, EXT_CHECKSUM_OFFSET), 0xffffffff) !== sb.checksum)
    throw corrupt("the superblock's checksum is wrong");
  return sb.featureIncompat & ExtIncompat.CSUM_SEED ? sb.checksumSeed : crc32cRaw(sb.uuid, 0xffffffff);
}

function clusterOf(sb: ExtSuperblock): number {
  if (!(sb.featureRoCompat & ExtRoCompat.BIGALLOC)) return 1;
  if (sb.logClusterSize < sb.logBlockSize || sb.logClusterSize > MAX_LOG_CLUSTER_SIZE)
    throw corrupt(`s_log_cluster_size is ${sb.logClusterSize}`);
  return 2 ** (sb.logClusterSize - sb.logBlockSize);
}

function wideDescriptor(size: number): number {
  if (size < MIN_DESCRIPTOR_SIZE_64 || size > MAX_DESCRIPTOR_SIZE || !isPowerOfTwo(size))
    throw corrupt(`s_desc_size is ${size}`);
  return size;
}
