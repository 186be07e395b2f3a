import { crc32cRaw } from "../bytes/crc.ts";
import { exactNumber, isPowerOfTwo } from "../bytes/integers.ts";
import { type Decoded, struct } from "../bytes/struct.ts";
import type { Finding, Json } from "../core/finding.ts";
import { badChecksum, jsonNumber, type Recogniser, readExactly, sizeOf, truncation, utf8Field } from "./info.ts";
import { uuidOrNull } from "./uuids.ts";
import { xfsLogState } from "./xfs-log.ts";

/** struct xfs_dsb (XFS Algorithms & Data Structures, 3rd ed., "Superblocks"; fs/xfs/libxfs/xfs_format.h). */
export const XFS_SUPERBLOCK = struct("XFS superblock", "big", {
  magic: { at: 0, type: "ascii", length: 4, ref: "sb_magicnum" },
  blockSize: { at: 4, type: "u32", ref: "sb_blocksize" },
  dataBlocks: { at: 8, type: "u64", ref: "sb_dblocks" },
  realtimeBlocks: { at: 16, type: "u64", ref: "sb_rblocks" },
  uuid: { at: 32, type: "bytes", length: 16, ref: "sb_uuid" },
  logStart: { at: 48, type: "u64", ref: "sb_logstart, 0: external log" },
  agBlocks: { at: 84, type: "u32", ref: "sb_agblocks" },
  agCount: { at: 88, type: "u32", ref: "sb_agcount" },
  logBlocks: { at: 96, type: "u32", ref: "sb_logblocks" },
  version: { at: 100, type: "u16", ref: "sb_versionnum" },
  sectorSize: { at: 102, type: "u16", ref: "sb_sectsize" },
  inodeSize: { at: 104, type: "u16", ref: "sb_inodesize" },
  label: { at: 108, type: "bytes", length: 12, ref: "sb_fname" },
  blockLog: { at: 120, type: "u8", ref: "sb_blocklog" },
  sectorLog: { at: 121, type: "u8", ref: "sb_sectlog" },
  inodeLog: { at: 122, type: "u8", ref: "sb_inodelog" },
  inodesPerBlockLog: { at: 123, type: "u8", ref: "sb_inopblog" },
  agBlocksLog: { at: 124, type: "u8", ref: "sb_agblklog" },
  inProgress: { at: 126, type: "u8", ref: "sb_inprogress" },
  inodesAllocated: { at: 128, type: "u64", ref: "sb_icount" },
  inodesFree: { at: 136, type: "u64", ref: "sb_ifree" },
  dataBlocksFree: { at: 144, type: "u64", ref: "sb_fdblocks" },
  features2: { at: 200, type: "u32", ref: "sb_features2" },
  featuresCompat: { at: 208, type: "u32", ref: "sb_features_compat (version 5)" },
  featuresRoCompat: { at: 212, type: "u32", ref: "sb_features_ro_compat (version 5)" },
  featuresIncompat: { at: 216, type: "u32", ref: "sb_features_incompat (version 5)" },
  featuresLog: { at: 220, type: "u32", ref: "sb_features_log_incompat (version 5)" },
  crc: { at: 224, type: "bytes", length: 4, ref: "sb_crc (version 5), little-endian" },
});

export type XfsSuperblock = Decoded<typeof XFS_SUPERBLOCK.fields>;

/** Limits of xfs_format.h: XFS_MIN/MAX_BLOCKSIZE, _SECTORSIZE, XFS_DINODE_MIN/MAX_SIZE. */
const BLOCK_SIZES = [512, 65536] as const;
const SECTOR_SIZES = [512, 32768] as const;
const INODE_SIZES = [256, 2048] as const;

/** XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR. */
const INCOMPAT_NEEDSREPAIR = 0x10;
/** Bits of sb_features_incompat, _ro_compat and sb_features2 as mkfs.xfs and xfs_info name them. */
const INCOMPAT_NAMES: Record<number, string> = {
  0: "ftype",
  1: "sparse",
  2: "meta_uuid",
  3: "bigtime",
  4: "needsrepair",
  5: "nrext64",
  6: "exchange",
  7: "parent",
  8: "metadir",
};
const RO_COMPAT_NAMES: Record<number, string> = { 0: "finobt", 1: "rmapbt", 2: "reflink", 3: "inobtcount" };

export const xfs: Recogniser = {
  name: "xfs",
  usage: "filesystem",
  async recognise(window) {
    const head = await readExactly(window, 0, 512);
    if (!head) return null;
    const sb = XFS_SUPERBLOCK.decode(head);
    if (sb.magic !== "XFSB" || !plausible(sb)) return null;
    const findings: Finding[] = truncation("xfs", sb.dataBlocks * BigInt(sb.blockSize), window, 0);
    const v5 = (sb.version & 0xf) === 5;
    if (v5 && !(await checksumHolds(await readExactly(window, 0, sb.sectorSize)))) findings.push(badChecksum("xfs", 0));
    return {
      kind: "filesystem",
      type: "xfs",
      uuid: uuidOrNull(sb.uuid),
      label: utf8Field(sb.label),
      size: sizeOf(sb.dataBlocks, sb.blockSize),
      state: findings.some((f) => f.code === "xfs-superblock-checksum")
        ? "superblock damaged"
        : await stateOf(sb, window),
      details: detailsOf(sb, v5),
      findings,
    };
  },
};

function inRange(value: number, [low, high]: readonly [number, number], log: number): boolean {
  return value >= low && value <= high && isPowerOfTwo(value) && 2 ** log === value;
}

/** xfs_verify_sb() of libblkid: a magic of four letters alone is too weak. */
function plausible(sb: XfsSuperblock): boolean {
  const most = BigInt(sb.agCount) * BigInt(sb.agBlocks);
  return (
    sb.agCount > 0 &&
    inRange(sb.sectorSize, SECTOR_SIZES, sb.sectorLog) &&
    inRange(sb.blockSize, BLOCK_SIZES, sb.blockLog) &&
    inRange(sb.inodeSize, INODE_SIZES, sb.inodeLog) &&
    sb.blockLog - sb.inodeLog === sb.inodesPerBlockLog &&
    sb.dataBlocks > 0n &&
    sb.dataBlocks <= most
  );
}

/** Over the whole sector with the field itself as zeros (xfs_verify_cksum). */
async function checksumHolds(sector: Uint8Array | null): Promise<boolean> {
  if (!sector) return false;
  const { at, length } = XFS_SUPERBLOCK.fields.crc;
  const stored = Buffer.from(sector.subarray(at, at + length)).readUInt32LE(0);
  const copy = Uint8Array.from(sector).fill(0, at, at + length);
  return (crc32cRaw(copy, 0xffffffff) ^ 0xffffffff) >>> 0 === stored;
}

async function stateOf(sb: XfsSuperblock, window: Parameters<Recogniser["recognise"]>[0]): Promise<string | null> {
  if (sb.inProgress !== 0) return "mkfs in progress";
  if ((sb.version & 0xf) === 5 && sb.featuresIncompat & INCOMPAT_NEEDSREPAIR) return "needs repair";
  if (sb.logStart === 0n) return null;
  return xfsLogState(window, logOffset(sb), sb.logBlocks * sb.blockSize);
}

/** Byte offset of the internal log: sb_logstart is a file-system block number, its high bits the allocation group. */
function logOffset(sb: XfsSuperblock): number | null {
  const group = sb.logStart >> BigInt(sb.agBlocksLog);
  const block = group * BigInt(sb.agBlocks) + (sb.logStart & ((1n << BigInt(sb.agBlocksLog)) - 1n));
  return exactNumber(block * BigInt(sb.blockSize));
}

function namesOf(mask: number, names: Record<number, string>): string[] {
  return Array.from({ length: 32 }, (_, bit) => bit)
    .filter((bit) => (mask >>> bit) & 1)
    .map((bit) => names[bit] ?? `bit ${bit}`);
}

function detailsOf(sb: XfsSuperblock, v5: boolean): { readonly [key: string]: Json } {
  return {
    version: sb.version & 0xf,
    blockSize: sb.blockSize,
    sectorSize: sb.sectorSize,
    inodeSize: sb.inodeSize,
    blocks: jsonNumber(sb.dataBlocks),
    freeBlocks: jsonNumber(sb.dataBlocksFree),
    inodes: jsonNumber(sb.inodesAllocated),
    freeInodes: jsonNumber(sb.inodesFree),
    allocationGroups: sb.agCount,
    agBlocks: sb.agBlocks,
    realtimeBlocks: jsonNumber(sb.realtimeBlocks),
    log: sb.logStart === 0n ? "external" : "internal",
    logBlocks: sb.logBlocks,
    features: v5
      ? {
          incompat: namesOf(sb.featuresIncompat, INCOMPAT_NAMES),
          ro_compat: namesOf(sb.featuresRoCompat, RO_COMPAT_NAMES),
        }
      : null,
  };
}
