import { crc32cRaw } from "../../src/bytes/crc.ts";
import type { Sparse } from "../engine/sparse.ts";
import { put32, u32 } from "./numbers.ts";

const METADATA_CSUM = 0x400;
const CSUM_SEED = 0x2000;
const BIT64 = 0x80;
/** Groups and inodes of each that are mended; the seeds are small. */
const MOST_GROUPS = 8;
const MOST_INODES = 128;

/**
 * ext4 with metadata_csum ("Checksums" in the kernel's ext4 documentation): superblock, group descriptors, inodes, and the blocks that an
 * inode's first extents or block numbers name, as directory blocks.
 */
export function fixExt(image: Sparse): void {
  const sb = image.read(1024, 1024);
  if (sb[56] !== 0x53 || sb[57] !== 0xef || (u32(sb, 100) & METADATA_CSUM) === 0) return;
  put32(sb, 1020, crc32cRaw(sb.subarray(0, 1020), 0xffff_ffff));
  image.write(2044, sb.subarray(1020));
  const blockSize = 1024 * 2 ** Math.min(u32(sb, 24), 6);
  const seed = u32(sb, 96) & CSUM_SEED ? u32(sb, 0x270) : crc32cRaw(sb.subarray(0x68, 0x78), 0xffff_ffff);
  const descriptorSize = u32(sb, 96) & BIT64 ? Math.max(32, Math.min(256, sb[254]! + 256 * sb[255]!)) : 32;
  const inodeSize = sb[88]! + 256 * sb[89]!;
  if (inodeSize < 128 || inodeSize > blockSize) return;
  for (let group = 0; group < MOST_GROUPS; group++) {
    const at = (u32(sb, 20) + 1) * blockSize + group * descriptorSize;
    const descriptor = image.read(at, descriptorSize);
    if (descriptor.every((b) => b === 0)) break;
    descriptor.fill(0, 30, 32);
    const sum = crc32cRaw(descriptor, crc32cRaw(le32(group), seed));
    image.write(at + 30, le32(sum).subarray(0, 2));
    const first = group * u32(sb, 40) + 1;
    const table = u32(descriptor, 8) * blockSize;
    for (let i = 0; i < Math.min(u32(sb, 40), MOST_INODES); i++) {
      fixInode(image, table + i * inodeSize, inodeSize, first + i, seed, blockSize);
    }
  }
}

function fixInode(image: Sparse, at: number, size: number, number: number, seed: number, blockSize: number): void {
  const inode = image.read(at, size);
  if (inode.every((b) => b === 0)) return;
  const own = crc32cRaw(inode.subarray(100, 104), crc32cRaw(le32(number), seed));
  const wide = size > 128 && inode[128]! + 256 * inode[129]! >= 4;
  inode.fill(0, 124, 126);
  if (wide) inode.fill(0, 130, 132);
  const sum = le32(crc32cRaw(inode, own));
  image.write(at + 124, sum.subarray(0, 2));
  if (wide) image.write(at + 130, sum.subarray(2, 4));
  const isDirectory = (inode[1]! & 0xf0) === 0x40;
  for (const block of firstBlocks(inode)) fixTail(image, block * blockSize, blockSize, own, isDirectory);
}

/** Of the extents in the inode itself, or the direct block numbers. */
function firstBlocks(inode: Uint8Array): number[] {
  const extents = inode[40] === 0x0a && inode[41] === 0xf3;
  const places = extents ? [60, 72, 84, 96] : [40, 44, 48];
  return places.map((place) => u32(inode, place)).filter((block) => block > 0 && block < 0x100_0000);
}

/** A directory leaf ends in a fake entry with the sum, a node of the extent tree in the sum behind its room for entries. */
function fixTail(image: Sparse, at: number, blockSize: number, own: number, isDirectory: boolean): void {
  if (at + blockSize > image.size) return;
  const block = image.read(at, blockSize);
  if (block[0] === 0x0a && block[1] === 0xf3) {
    const end = 12 + 12 * (block[4]! + 256 * block[5]!);
    if (end + 4 <= blockSize) image.write(at + end, le32(crc32cRaw(block.subarray(0, end), own)));
  } else if (isDirectory && block[blockSize - 5] === 0xde && u32(block, blockSize - 12) === 0) {
    image.write(at + blockSize - 4, le32(crc32cRaw(block.subarray(0, blockSize - 12), own)));
  }
}

function le32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, value);
  return bytes;
}
