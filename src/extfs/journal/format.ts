import { type Decoded, struct } from "../../bytes/struct.ts";

/** jbd2's structures are big-endian (Linux, Documentation/filesystems/ext4/journal.rst; include/linux/jbd2.h). */
export const JOURNAL_MAGIC = 0xc03b3998;
export const HEADER_SIZE = 12;
/** Bytes of the journal superblock that its checksum covers. */
export const JOURNAL_SUPERBLOCK_SIZE = 1024;
export const JOURNAL_CHECKSUM_AT = 0xfc;

export const BlockType = { DESCRIPTOR: 1, COMMIT: 2, SUPERBLOCK_V1: 3, SUPERBLOCK_V2: 4, REVOKE: 5 } as const;

export const JournalCompat = { CHECKSUM: 0x1 } as const;
export const JournalIncompat = {
  REVOKE: 0x1,
  BIT64: 0x2,
  ASYNC_COMMIT: 0x4,
  CSUM_V2: 0x8,
  CSUM_V3: 0x10,
  FAST_COMMIT: 0x20,
} as const;

export const TagFlag = { ESCAPED: 0x1, SAME_UUID: 0x2, LAST: 0x8 } as const;

export const JOURNAL_HEADER = struct("jbd2 header", "big", {
  magic: { at: 0, type: "u32", ref: "h_magic" },
  type: { at: 4, type: "u32", ref: "h_blocktype" },
  sequence: { at: 8, type: "u32", ref: "h_sequence" },
});

export const JOURNAL_SUPERBLOCK = struct("jbd2 superblock", "big", {
  magic: { at: 0x0, type: "u32", ref: "h_magic" },
  type: { at: 0x4, type: "u32", ref: "h_blocktype" },
  blockSize: { at: 0xc, type: "u32", ref: "s_blocksize" },
  blocks: { at: 0x10, type: "u32", ref: "s_maxlen" },
  first: { at: 0x14, type: "u32", ref: "s_first" },
  sequence: { at: 0x18, type: "u32", ref: "s_sequence" },
  start: { at: 0x1c, type: "u32", ref: "s_start" },
  compat: { at: 0x24, type: "u32", ref: "s_feature_compat" },
  incompat: { at: 0x28, type: "u32", ref: "s_feature_incompat" },
  uuid: { at: 0x30, type: "bytes", length: 16, ref: "s_uuid" },
  checksumType: { at: 0x50, type: "u8", ref: "s_checksum_type" },
  fastCommitBlocks: { at: 0x54, type: "u32", ref: "s_num_fc_blks" },
  checksum: { at: JOURNAL_CHECKSUM_AT, type: "u32", ref: "s_checksum" },
});
export type JournalSuperblock = Decoded<typeof JOURNAL_SUPERBLOCK.fields>;

export const COMMIT_BLOCK = struct("jbd2 commit block", "big", {
  checksumType: { at: 12, type: "u8", ref: "h_chksum_type" },
  checksumSize: { at: 13, type: "u8", ref: "h_chksum_size" },
  checksum: { at: 16, type: "u32", ref: "h_chksum[0]" },
  seconds: { at: 48, type: "u64", ref: "h_commit_sec" },
});
