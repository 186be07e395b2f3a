import { crc32cRaw } from "../bytes/crc.ts";
import { type Decoded, struct, view } from "../bytes/struct.ts";
import { ExtIncompat, ExtRoCompat } from "../filesystems/ext-features.ts";
import { type ExtBlocks, extCorrupt } from "./blocks.ts";
import { GroupFlag } from "./geometry.ts";

/** i_flags that change how an inode is read (inodes.rst). */
export const InodeFlag = {
  ENCRYPT: 0x800,
  INDEX: 0x1000,
  HUGE_FILE: 0x40000,
  EXTENTS: 0x80000,
  EA_INODE: 0x200000,
  INLINE_DATA: 0x10000000,
} as const;

export const ROOT_INODE = 2;
/** Bytes of i_block. */
export const I_BLOCK_SIZE = 60;

const CREATOR_LINUX = 0;
const OLD_SIZE = 128;

/** struct ext4_inode's first 128 bytes (inodes.rst). */
const INODE = struct("ext inode", "little", {
  mode: { at: 0x0, type: "u16", ref: "i_mode" },
  uidLow: { at: 0x2, type: "u16", ref: "i_uid" },
  sizeLow: { at: 0x4, type: "u32", ref: "i_size_lo" },
  atime: { at: 0x8, type: "i32", ref: "i_atime" },
  ctime: { at: 0xc, type: "i32", ref: "i_ctime" },
  mtime: { at: 0x10, type: "i32", ref: "i_mtime" },
  gidLow: { at: 0x18, type: "u16", ref: "i_gid" },
  links: { at: 0x1a, type: "u16", ref: "i_links_count" },
  blocksLow: { at: 0x1c, type: "u32", ref: "i_blocks_lo" },
  flags: { at: 0x20, type: "u32", ref: "i_flags" },
  block: { at: 0x28, type: "bytes", length: I_BLOCK_SIZE, ref: "i_block" },
  generation: { at: 0x64, type: "u32", ref: "i_generation" },
  aclLow: { at: 0x68, type: "u32", ref: "i_file_acl_lo" },
  sizeHigh: { at: 0x6c, type: "u32", ref: "i_size_high" },
  blocksHigh: { at: 0x74, type: "u16", ref: "l_i_blocks_high" },
  aclHigh: { at: 0x76, type: "u16", ref: "l_i_file_acl_high" },
  uidHigh: { at: 0x78, type: "u16", ref: "l_i_uid_high" },
  gidHigh: { at: 0x7a, type: "u16", ref: "l_i_gid_high" },
  checksumLow: { at: 0x7c, type: "u16", ref: "l_i_checksum_lo" },
});
/** Offsets behind the first 128 bytes; each counts only as far as i_extra_isize reaches. */
const EXTRA = { size: 0x80, checksumHigh: 0x82, ctime: 0x84, mtime: 0x88, atime: 0x8c } as const;

export type FileType = "file" | "directory" | "symlink" | "char" | "block" | "fifo" | "socket";

const TYPES: Record<number, FileType> = {
  1: "fifo",
  2: "char",
  4: "directory",
  6: "block",
  8: "file",
  10: "symlink",
  12: "socket",
};

/** Seconds since 1970 and nanoseconds. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface ExtInode {
  readonly number: number;
  readonly type: FileType;
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  readonly links: number;
  readonly atime: Timestamp;
  readonly mtime: Timestamp;
  readonly ctime: Timestamp;
  /** i_flags. */
  readonly flags: number;
  /** Bytes on disk, as stat(2) counts them. */
  readonly allocatedBytes: number;
  /** char and block only. */
  readonly device: { readonly major: number; readonly minor: number } | null;
  /** i_block: extents, pointers, inline data or a fast symlink. */
  readonly block: Uint8Array;
  /** Block of further extended attributes, or 0. */
  readonly aclBlock: number;
  /** What lies behind i_extra_isize: the attributes in the inode. */
  readonly body: Uint8Array;
  /** Seed of the checksums of what belongs to this inode; null without metadata_csum. */
  readonly checksumSeed: number | null;
  /** Byte offset in the volume, for messages. */
  readonly offset: number;
}

/**
 * Reads inode `number`, checks its sum and its group's. Throws `corrupt` for a number outside, a wrong checksum, an unused inode, and
 * for fields that contradict the format.
 */
export async function readInode(blocks: ExtBlocks, number: number): Promise<ExtInode> {
  const { geometry: g } = blocks;
  if (!Number.isInteger(number) || number < 1 || number > g.inodes)
    throw extCorrupt(`there is no inode ${number}: the file system has ${g.inodes}`);
  const index = (number - 1) % g.inodesPerGroup;
  const groupNumber = Math.floor((number - 1) / g.inodesPerGroup);
  g.verifyGroup(groupNumber);
  const group = g.group(groupNumber);
  if (group.flags & GroupFlag.INODE_UNINIT) throw extCorrupt(`inode ${number} lies in a group without inodes in use`);
  const at = index * g.inodeSize;
  const tableBlock = group.inodeTable + Math.floor(at / g.blockSize);
  const table = await blocks.read(tableBlock, "the inode table");
  const start = at % g.blockSize;
  const raw = table.subarray(start, start + g.inodeSize);
  return decodeInode(blocks, number, raw, tableBlock * g.blockSize + start);
}

function decodeInode(blocks: ExtBlocks, number: number, raw: Uint8Array, offset: number): ExtInode {
  const { geometry: g } = blocks;
  const d = INODE.decode(raw);
  const extra = extraSize(raw, number, offset);
  const checksumSeed = seedOf(blocks, number, d.generation);
  if (checksumSeed !== null && !checksumHolds(raw, d.checksumLow, extra, checksumSeed))
    throw extCorrupt(`inode ${number} has a wrong checksum`, offset);
  const type = TYPES[d.mode >>> 12];
  if (type === undefined || (d.links === 0 && !(d.flags & InodeFlag.EA_INODE)))
    throw extCorrupt(`inode ${number} is not in use (mode ${d.mode.toString(8)}, ${d.links} links)`, offset);
  const size = sizeOf(g.incompat, type, d);
  if (!Number.isSafeInteger(size)) throw extCorrupt(`inode ${number} has a size of ${size}`, offset);
  const time = (seconds: number, at: number): Timestamp => {
    if (extra < at + 4 - OLD_SIZE) return { seconds, nanoseconds: 0 };
    // Two bits extend the seconds, thirty count nanoseconds ("Inode Timestamps" in inodes.rst).
    const word = view(raw).getUint32(at, true);
    return { seconds: seconds + (word % 4) * 0x1_0000_0000, nanoseconds: Math.min(word >>> 2, 999_999_999) };
  };
  const wide = (g.incompat & ExtIncompat.BIT64) !== 0;
  return {
    number,
    type,
    permissions: d.mode & 0o7777,
    uid: d.uidLow + d.uidHigh * 0x1_0000,
    gid: d.gidLow + d.gidHigh * 0x1_0000,
    size,
    links: d.links,
    atime: time(d.atime, EXTRA.atime),
    mtime: time(d.mtime, EXTRA.mtime),
    ctime: time(d.ctime, EXTRA.ctime),
    flags: d.flags,
    allocatedBytes: allocated(blocks, d, type === "file" ? size : 0),
    device: type === "char" || type === "block" ? deviceNumber(d.block) : null,
    block: d.block,
    aclBlock: d.aclLow + (wide ? d.aclHigh * 0x1_0000_0000 : 0),
    body: raw.length > OLD_SIZE ? raw.slice(OLD_SIZE + extra) : new Uint8Array(0),
    checksumSeed,
    offset,
  };
}

/** i_extra_isize, 0 in inodes of 128 bytes. */
function extraSize(raw: Uint8Array, number: number, offset: number): number {
  if (raw.length <= OLD_SIZE) return 0;
  const extra = view(raw).getUint16(EXTRA.size, true);
  if (OLD_SIZE + extra > raw.length || extra % 4 !== 0)
    throw extCorrupt(`inode ${number} has an i_extra_isize of ${extra}`, offset);
  return extra;
}

function seedOf(blocks: ExtBlocks, number: number, generation: number): number | null {
  const { checksumSeed, superblock } = blocks.geometry;
  if (checksumSeed === null || superblock.creatorOs !== CREATOR_LINUX) return null;
  const words = new Uint8Array(8);
  view(words).setUint32(0, number, true);
  view(words).setUint32(4, generation, true);
  return crc32cRaw(words, checksumSeed);
}

/** "Checksums": over the whole inode with both halves of the checksum taken as zero; the high half only where there is room for it. */
function checksumHolds(raw: Uint8Array, low: number, extra: number, seed: number): boolean {
  const copy = raw.slice();
  const high = extra >= EXTRA.checksumHigh + 2 - OLD_SIZE;
  view(copy).setUint16(0x7c, 0, true);
  if (high) view(copy).setUint16(EXTRA.checksumHigh, 0, true);
  const sum = crc32cRaw(copy, seed);
  const stored = low + (high ? view(raw).getUint16(EXTRA.checksumHigh, true) * 0x1_0000 : 0);
  return high ? sum === stored : (sum & 0xffff) === stored;
}

/** The high half counts for files, and for directories with large_dir. */
function sizeOf(incompat: number, type: FileType, d: Decoded<typeof INODE.fields>): number {
  const large = type === "file" || (type === "directory" && (incompat & ExtIncompat.LARGE_DIR) !== 0);
  return d.sizeLow + (large ? d.sizeHigh * 0x1_0000_0000 : 0);
}

/** i_blocks counts 512 bytes; with huge_file it has 48 bits, and counts blocks when the flag HUGE_FILE says so. A file's inline data has none; stat(2) counts it all the same. */
function allocated(blocks: ExtBlocks, d: Decoded<typeof INODE.fields>, fileSize: number): number {
  const { roCompat, blockSize } = blocks.geometry;
  const inline = d.flags & InodeFlag.INLINE_DATA ? Math.ceil(fileSize / 512) * 512 : 0;
  if (!(roCompat & ExtRoCompat.HUGE_FILE)) return d.blocksLow * 512 + inline;
  const count = d.blocksLow + d.blocksHigh * 0x1_0000_0000;
  return count * (d.flags & InodeFlag.HUGE_FILE ? blockSize : 512) + inline;
}

/** The old encoding in the first word (8:8 bits), else the new one in the second (fs/ext4/ext4.h; include/linux/kdev_t.h). */
function deviceNumber(block: Uint8Array): { major: number; minor: number } {
  const old = view(block).getUint32(0, true);
  if (old !== 0) return { major: (old >>> 8) & 0xff, minor: old & 0xff };
  const word = view(block).getUint32(4, true);
  return { major: (word >>> 8) & 0xfff, minor: (word & 0xff) + ((word >>> 20) & 0xfff) * 256 };
}
