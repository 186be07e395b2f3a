import { crc32cRaw } from "../bytes/crc.ts";
import { view } from "../bytes/struct.ts";
import { readBytes } from "../core/device.ts";
import type { Limits } from "../core/limits.ts";
import { withinLimit } from "../core/numbers.ts";
import { ExtIncompat } from "../filesystems/ext-features.ts";
import { type ExtBlocks, extCorrupt } from "./blocks.ts";
import { contentOf } from "./content.ts";
import { type ExtInode, type FileType, InodeFlag } from "./inode.ts";
import { inlineRest } from "./xattr.ts";

export interface DirectoryEntry {
  /** As the guest wrote it: any bytes, also those that no path may have. Never `.` or `..`. */
  readonly name: Uint8Array;
  readonly inode: number;
  /** What the entry says; the inode decides. Null where entries carry no type. */
  readonly type: FileType | null;
}

/** file_type in struct ext4_dir_entry_2 (directory.rst). */
const TYPES: Record<number, FileType> = {
  1: "file",
  2: "directory",
  3: "char",
  4: "block",
  5: "fifo",
  6: "socket",
  7: "symlink",
};
const HEADER = 8;
/** struct ext4_dir_entry_tail: an entry without inode and name whose type says that a checksum follows. */
const TAIL = 12;
const TAIL_TYPE = 0xde;
const INLINE_PARENT = 4;
/** struct dx_root_info and its place behind `.` and `..`. */
const DX_ROOT_INFO = 24;
const DX_ROOT_COUNT = 32;
const DX_NODE_COUNT = 8;

/**
 * All names in a directory, in the order of its blocks: a hashed directory's index blocks look like blocks without names.
 * Throws `corrupt` for damaged entries and checksums, `unsupported` for an encrypted directory, `limit` for a too large one.
 */
export async function* entriesOf(
  blocks: ExtBlocks,
  directory: ExtInode,
  limits: Limits,
): AsyncIterable<DirectoryEntry> {
  const { number, offset } = directory;
  let count = 0;
  for await (const { bytes, at } of blocksOf(blocks, directory, limits)) {
    for (const entry of entriesIn(blocks, directory, bytes, at)) {
      withinLimit(
        ++count,
        limits.extDirectoryEntries,
        "extDirectoryEntries",
        `names in directory ${number}`,
        "ext",
        offset,
      );
      yield entry;
    }
  }
}

/** The directory's blocks, checked by their sums; inline data counts as two. */
async function* blocksOf(
  blocks: ExtBlocks,
  directory: ExtInode,
  limits: Limits,
): AsyncIterable<{ bytes: Uint8Array; at: number }> {
  const { number, offset, size } = directory;
  const content = contentOf(blocks, directory);
  if (directory.flags & InodeFlag.INLINE_DATA) {
    yield { bytes: directory.block.subarray(INLINE_PARENT), at: offset };
    const rest = inlineRest(directory);
    if (rest.length > 0) yield { bytes: rest, at: offset };
    return;
  }
  const { blockSize } = blocks.geometry;
  withinLimit(size, limits.extDirectoryBytes, "extDirectoryBytes", `bytes of directory ${number}`, "ext", offset);
  if (size === 0 || size % blockSize !== 0) throw extCorrupt(`directory ${number} has a size of ${size}`, offset);
  for await (const extent of content.extents(0, size)) {
    // A hole holds no names; the kernel passes over it too.
    if (extent.kind !== "data") continue;
    for (let at = extent.offset; at < extent.offset + extent.length; at += blockSize) {
      const bytes = await readBytes(content, at, blockSize);
      if (!blockHolds(directory, bytes))
        throw extCorrupt(`block ${at / blockSize} of directory ${number} has a wrong checksum`, offset);
      yield { bytes, at: offset };
    }
  }
}

function* entriesIn(
  blocks: ExtBlocks,
  directory: ExtInode,
  bytes: Uint8Array,
  offset: number,
): Iterable<DirectoryEntry> {
  const dv = view(bytes);
  const { incompat, inodes } = blocks.geometry;
  const typed = (incompat & ExtIncompat.FILETYPE) !== 0;
  for (let at = 0; at < bytes.length; ) {
    const rest = bytes.length - at;
    const length = rest < HEADER ? 0 : entryLength(dv.getUint16(at + 4, true), blocks.geometry.blockSize);
    const inode = rest < HEADER ? 0 : dv.getUint32(at, true);
    const nameLength = rest < HEADER ? 0 : dv.getUint8(at + 6);
    if (length < HEADER || length % 4 !== 0 || length > rest || HEADER + nameLength > length)
      throw extCorrupt(`directory ${directory.number} has an entry of ${length} bytes at ${at} of a block`, offset);
    if (inode !== 0) {
      if (nameLength === 0 || inode > inodes)
        throw extCorrupt(`directory ${directory.number} has an entry for inode ${inode}`, offset);
      const name = bytes.slice(at + HEADER, at + HEADER + nameLength);
      const type = typed ? (TYPES[dv.getUint8(at + 7)] ?? null) : null;
      if (!isDots(name)) yield { name, inode, type };
    }
    at += length;
  }
}

function isDots(name: Uint8Array): boolean {
  const DOT = 0x2e;
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
}

/** Lengths beyond 16 bits use the two lowest bits, and 65536 itself is 65535 or 0 (kernel, ext4_rec_len_from_disk). */
function entryLength(raw: number, blockSize: number): number {
  if (blockSize < 65536) return raw;
  if (raw === 65535 || raw === 0) return blockSize;
  return raw - (raw % 4) + (raw % 4) * 65536;
}

/** "Checksums": a leaf ends in a tail of its own, an index block's sum stands behind its last possible entry. */
function blockHolds(directory: ExtInode, bytes: Uint8Array): boolean {
  const seed = directory.checksumSeed;
  if (seed === null) return true;
  const dv = view(bytes);
  const counts = directory.flags & InodeFlag.INDEX ? indexCounts(dv, bytes.length) : null;
  if (counts === null) {
    const tail = bytes.length - TAIL;
    return (
      dv.getUint32(tail, true) === 0 &&
      dv.getUint16(tail + 4, true) === TAIL &&
      dv.getUint8(tail + 7) === TAIL_TYPE &&
      crc32cRaw(bytes.subarray(0, tail), seed) === dv.getUint32(tail + 8, true)
    );
  }
  const limit = dv.getUint16(counts, true);
  const count = dv.getUint16(counts + 2, true);
  const tail = counts + limit * 8;
  if (count > limit || tail + 8 > bytes.length) return false;
  const covered = crc32cRaw(bytes.subarray(0, counts + count * 8), seed);
  const reserved = crc32cRaw(bytes.subarray(tail, tail + 4), covered);
  return crc32cRaw(new Uint8Array(4), reserved) === dv.getUint32(tail + 4, true);
}

/** Offset of the count and limit in an index block, null in a leaf (kernel, fs/ext4/namei.c, get_dx_countlimit). */
function indexCounts(dv: DataView, blockSize: number): number | null {
  const length = (at: number) => entryLength(dv.getUint16(at + 4, true), blockSize);
  if (length(0) === blockSize) return DX_NODE_COUNT;
  if (length(0) !== 12 || length(12) !== blockSize - 12) return null;
  const info = dv.getUint32(DX_ROOT_INFO, true) === 0 && dv.getUint8(DX_ROOT_INFO + 5) === 8;
  return info ? DX_ROOT_COUNT : null;
}
