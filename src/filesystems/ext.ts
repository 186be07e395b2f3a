import { crc32cRaw } from "../bytes/crc.ts";
import { uuidText } from "../bytes/uuid.ts";
import type { Finding, Json } from "../core/finding.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { ExtCompat, ExtIncompat, ExtRoCompat, extFeatureNames, hasUnnamedFeature } from "./ext-features.ts";
import {
  EXT_CHECKSUM_OFFSET,
  EXT_MAGIC,
  EXT_SUPERBLOCK,
  EXT_SUPERBLOCK_OFFSET,
  EXT_SUPERBLOCK_SIZE,
  type ExtSuperblock,
} from "./ext-superblock.ts";
import {
  badChecksum,
  isoTime,
  jsonNumber,
  type Recogniser,
  readExactly,
  sizeOf,
  truncation,
  utf8Field,
} from "./info.ts";
import { uuidOrNull } from "./uuids.ts";

/** EXT2_MAX_BLOCK_LOG_SIZE - EXT2_MIN_BLOCK_LOG_SIZE: 64 KiB blocks (e2fsprogs, lib/ext2fs/ext2_fs.h). */
const MAX_LOG_BLOCK_SIZE = 6;
/** EXT2_DYNAMIC_REV, the newest revision there is. */
const MAX_REVISION = 1;

/** s_state bits ("Super Block" in super.rst). */
const STATE_VALID = 0x1;
const STATE_ERRORS = 0x2;
/** s_flags: in use for testing of development code. */
const FLAG_TEST_FILESYSTEM = 0x4;

const ERROR_BEHAVIOUR: Record<number, string> = { 1: "continue", 2: "remount-ro", 3: "panic" };
const CREATOR_OS: Record<number, string> = { 0: "Linux", 1: "Hurd", 2: "Masix", 3: "FreeBSD", 4: "Lites" };

/** What ext2 and ext3 understand, by libblkid's reckoning (libblkid/src/superblocks/ext.c). */
const EXT2_RO = ExtRoCompat.SPARSE_SUPER | ExtRoCompat.LARGE_FILE | ExtRoCompat.BTREE_DIR;
const EXT2_INCOMPAT = ExtIncompat.FILETYPE | ExtIncompat.META_BG;
const EXT3_INCOMPAT = EXT2_INCOMPAT | ExtIncompat.RECOVER;

/** ext2, ext3, ext4, and `jbd`: a journal that lies on a device of its own. */
export const ext: Recogniser = {
  name: "ext",
  usage: "filesystem",
  async recognise(window) {
    const raw = await readExactly(window, EXT_SUPERBLOCK_OFFSET, EXT_SUPERBLOCK_SIZE);
    if (!raw) return null;
    const sb = EXT_SUPERBLOCK.decode(raw);
    if (sb.magic !== EXT_MAGIC || (sb.logBlockSize > MAX_LOG_BLOCK_SIZE && sb.revision > MAX_REVISION)) return null;
    const type = typeOf(sb);
    const findings = findingsOf(sb, raw, window);
    const blockSize = blockSizeOf(sb);
    return {
      kind: type === "jbd" ? "unknown" : "filesystem",
      type,
      uuid: uuidOrNull(sb.uuid),
      label: utf8Field(sb.volumeName),
      size: blockSize === null ? null : sizeOf(blocksOf(sb), blockSize),
      state: type === "jbd" ? null : stateOf(sb, findings),
      details: detailsOf(sb),
      findings,
    };
  },
};

function typeOf(sb: ExtSuperblock): "ext2" | "ext3" | "ext4" | "jbd" {
  if (sb.featureIncompat & ExtIncompat.JOURNAL_DEV) return "jbd";
  const journal = (sb.featureCompat & ExtCompat.HAS_JOURNAL) !== 0;
  const newer = (sb.featureRoCompat & ~EXT2_RO) !== 0 || (sb.featureIncompat & ~EXT3_INCOMPAT) !== 0;
  if (newer) return "ext4";
  if (journal) return "ext3";
  // needs_recovery without a journal is no ext2 either; e2fsck complains and clears it.
  return (sb.featureIncompat & ~EXT2_INCOMPAT) === 0 ? "ext2" : "ext4";
}

function blockSizeOf(sb: ExtSuperblock): number | null {
  return sb.logBlockSize > MAX_LOG_BLOCK_SIZE ? null : 1024 * 2 ** sb.logBlockSize;
}

/** The high halves count only with the feature 64bit. */
function wide(sb: ExtSuperblock, low: number, high: number): bigint {
  return BigInt(low) + (sb.featureIncompat & ExtIncompat.BIT64 ? BigInt(high) * 0x1_0000_0000n : 0n);
}

function blocksOf(sb: ExtSuperblock): bigint {
  return wide(sb, sb.blocksCountLo, sb.blocksCountHi);
}

function stateOf(sb: ExtSuperblock, findings: readonly Finding[]): string {
  if (findings.some((f) => f.code === "ext-superblock-checksum" || f.code === "ext-superblock-invalid"))
    return "superblock damaged";
  if (sb.state & STATE_ERRORS || sb.errorCount > 0) return "errors";
  if (sb.featureIncompat & ExtIncompat.RECOVER) return "needs journal recovery";
  return sb.state & STATE_VALID ? "clean" : "not clean";
}

function findingsOf(sb: ExtSuperblock, raw: Uint8Array, window: ProbeWindow): Finding[] {
  const findings: Finding[] = [];
  const add = (severity: Finding["severity"], code: string, message: string) =>
    findings.push({ severity, code, message, layer: "ext", offset: EXT_SUPERBLOCK_OFFSET });
  if (sb.featureRoCompat & ExtRoCompat.METADATA_CSUM) {
    // "Checksums" in super.rst: crc32c with initial value ~0, over all before the field, not complemented.
    const computed = crc32cRaw(raw.subarray(0, EXT_CHECKSUM_OFFSET), 0xffffffff);
    if (computed !== sb.checksum) findings.push(badChecksum("ext", EXT_SUPERBLOCK_OFFSET));
  }
  const blockSize = blockSizeOf(sb);
  if (blockSize === null) {
    add(
      "error",
      "ext-superblock-invalid",
      `s_log_block_size is ${sb.logBlockSize}; the largest is ${MAX_LOG_BLOCK_SIZE}`,
    );
  } else {
    findings.push(...truncation("ext", blocksOf(sb) * BigInt(blockSize), window, EXT_SUPERBLOCK_OFFSET));
  }
  if (sb.revision > MAX_REVISION) add("error", "ext-superblock-invalid", `revision ${sb.revision} is not known`);
  const isJournal = (sb.featureIncompat & ExtIncompat.JOURNAL_DEV) !== 0;
  if (!isJournal && (blocksOf(sb) === 0n || sb.inodesCount === 0))
    add("error", "ext-superblock-invalid", `${blocksOf(sb)} blocks and ${sb.inodesCount} inodes`);
  if (sb.freeInodes > sb.inodesCount)
    add("error", "ext-superblock-invalid", `${sb.freeInodes} free inodes of ${sb.inodesCount}`);
  if (sb.errorCount > 0) add("warning", "ext-errors-recorded", `the kernel has recorded ${sb.errorCount} errors`);
  if (
    hasUnnamedFeature("compat", sb.featureCompat) ||
    hasUnnamedFeature("incompat", sb.featureIncompat) ||
    hasUnnamedFeature("ro_compat", sb.featureRoCompat)
  ) {
    add("warning", "ext-unknown-feature", "a feature is set that e2fsprogs has no name for; a checker may refuse it");
  }
  return findings;
}

function detailsOf(sb: ExtSuperblock): { readonly [key: string]: Json } {
  const valid = sb.state & STATE_VALID ? "clean" : "not clean";
  return {
    blockSize: blockSizeOf(sb),
    blocks: jsonNumber(blocksOf(sb)),
    reservedBlocks: jsonNumber(wide(sb, sb.reservedBlocksLo, sb.reservedBlocksHi)),
    freeBlocks: jsonNumber(wide(sb, sb.freeBlocksLo, sb.freeBlocksHi)),
    inodes: sb.inodesCount,
    freeInodes: sb.freeInodes,
    inodesUsed: sb.inodesCount - sb.freeInodes,
    inodeSize: sb.revision === 0 ? 128 : sb.inodeSize,
    blocksPerGroup: sb.blocksPerGroup,
    inodesPerGroup: sb.inodesPerGroup,
    /** As dumpe2fs words it. */
    filesystemState: sb.state & STATE_ERRORS ? `${valid} with errors` : valid,
    needsRecovery: (sb.featureIncompat & ExtIncompat.RECOVER) !== 0,
    orphans: sb.lastOrphan !== 0,
    errorCount: sb.errorCount,
    firstErrorTime: isoTime(sb.firstErrorTime),
    lastErrorTime: isoTime(sb.lastErrorTime),
    mountCount: sb.mountCount,
    /** Negative or 0: no check because of the number of mounts. */
    maxMountCount: sb.maxMountCount >= 0x8000 ? sb.maxMountCount - 0x10000 : sb.maxMountCount,
    created: isoTime(sb.mkfsTime),
    lastMount: isoTime(sb.mtime),
    lastWrite: isoTime(sb.wtime),
    lastCheck: isoTime(sb.lastCheck),
    /** Seconds; 0: no check because of time. */
    checkInterval: sb.checkInterval,
    lastMountedOn: utf8Field(sb.lastMounted),
    errorBehaviour: ERROR_BEHAVIOUR[sb.errors] ?? `unknown (${sb.errors})`,
    creatorOs: CREATOR_OS[sb.creatorOs] ?? `unknown (${sb.creatorOs})`,
    revision: `${sb.revision}.${sb.minorRevision}`,
    testFilesystem: (sb.flags & FLAG_TEST_FILESYSTEM) !== 0,
    features: {
      compat: extFeatureNames("compat", sb.featureCompat),
      incompat: extFeatureNames("incompat", sb.featureIncompat),
      ro_compat: extFeatureNames("ro_compat", sb.featureRoCompat),
    },
    journal: journalOf(sb),
  };
}

function journalOf(sb: ExtSuperblock): Json {
  if ((sb.featureCompat & ExtCompat.HAS_JOURNAL) === 0) return null;
  if (sb.journalInode !== 0) return { where: "internal", inode: sb.journalInode };
  return { where: "external", uuid: uuidText(sb.journalUuid) };
}
