import { type Decoded, struct } from "../bytes/struct.ts";

/** Byte offset of the primary superblock, whatever the block size. */
export const EXT_SUPERBLOCK_OFFSET = 1024;
export const EXT_SUPERBLOCK_SIZE = 1024;
export const EXT_MAGIC = 0xef53;
/** The checksum is the last field and covers everything before it. */
export const EXT_CHECKSUM_OFFSET = 0x3fc;

/** struct ext4_super_block (Linux, Documentation/filesystems/ext4/super.rst). Counts in blocks or inodes, times in s since 1970. */
export const EXT_SUPERBLOCK = struct("ext superblock", "little", {
  inodesCount: { at: 0x0, type: "u32", ref: "s_inodes_count" },
  blocksCountLo: { at: 0x4, type: "u32", ref: "s_blocks_count_lo" },
  reservedBlocksLo: { at: 0x8, type: "u32", ref: "s_r_blocks_count_lo" },
  freeBlocksLo: { at: 0xc, type: "u32", ref: "s_free_blocks_count_lo" },
  freeInodes: { at: 0x10, type: "u32", ref: "s_free_inodes_count" },
  firstDataBlock: { at: 0x14, type: "u32", ref: "s_first_data_block" },
  logBlockSize: { at: 0x18, type: "u32", ref: "s_log_block_size" },
  logClusterSize: { at: 0x1c, type: "u32", ref: "s_log_cluster_size" },
  blocksPerGroup: { at: 0x20, type: "u32", ref: "s_blocks_per_group" },
  clustersPerGroup: { at: 0x24, type: "u32", ref: "s_clusters_per_group" },
  inodesPerGroup: { at: 0x28, type: "u32", ref: "s_inodes_per_group" },
  mtime: { at: 0x2c, type: "u32", ref: "s_mtime" },
  wtime: { at: 0x30, type: "u32", ref: "s_wtime" },
  mountCount: { at: 0x34, type: "u16", ref: "s_mnt_count" },
  maxMountCount: { at: 0x36, type: "u16", ref: "s_max_mnt_count (signed)" },
  magic: { at: 0x38, type: "u16", ref: "s_magic" },
  state: { at: 0x3a, type: "u16", ref: "s_state" },
  errors: { at: 0x3c, type: "u16", ref: "s_errors" },
  minorRevision: { at: 0x3e, type: "u16", ref: "s_minor_rev_level" },
  lastCheck: { at: 0x40, type: "u32", ref: "s_lastcheck" },
  checkInterval: { at: 0x44, type: "u32", ref: "s_checkinterval" },
  creatorOs: { at: 0x48, type: "u32", ref: "s_creator_os" },
  revision: { at: 0x4c, type: "u32", ref: "s_rev_level" },
  firstInode: { at: 0x54, type: "u32", ref: "s_first_ino" },
  inodeSize: { at: 0x58, type: "u16", ref: "s_inode_size" },
  featureCompat: { at: 0x5c, type: "u32", ref: "s_feature_compat" },
  featureIncompat: { at: 0x60, type: "u32", ref: "s_feature_incompat" },
  featureRoCompat: { at: 0x64, type: "u32", ref: "s_feature_ro_compat" },
  uuid: { at: 0x68, type: "bytes", length: 16, ref: "s_uuid" },
  volumeName: { at: 0x78, type: "bytes", length: 16, ref: "s_volume_name" },
  lastMounted: { at: 0x88, type: "bytes", length: 64, ref: "s_last_mounted" },
  reservedGdtBlocks: { at: 0xce, type: "u16", ref: "s_reserved_gdt_blocks" },
  journalUuid: { at: 0xd0, type: "bytes", length: 16, ref: "s_journal_uuid" },
  journalInode: { at: 0xe0, type: "u32", ref: "s_journal_inum" },
  journalDevice: { at: 0xe4, type: "u32", ref: "s_journal_dev" },
  lastOrphan: { at: 0xe8, type: "u32", ref: "s_last_orphan" },
  hashSeed: { at: 0xec, type: "bytes", length: 16, ref: "s_hash_seed" },
  descriptorSize: { at: 0xfe, type: "u16", ref: "s_desc_size" },
  firstMetaGroup: { at: 0x104, type: "u32", ref: "s_first_meta_bg" },
  mkfsTime: { at: 0x108, type: "u32", ref: "s_mkfs_time" },
  blocksCountHi: { at: 0x150, type: "u32", ref: "s_blocks_count_hi" },
  reservedBlocksHi: { at: 0x154, type: "u32", ref: "s_r_blocks_count_hi" },
  freeBlocksHi: { at: 0x158, type: "u32", ref: "s_free_blocks_count_hi" },
  flags: { at: 0x160, type: "u32", ref: "s_flags" },
  checksumType: { at: 0x175, type: "u8", ref: "s_checksum_type" },
  errorCount: { at: 0x194, type: "u32", ref: "s_error_count" },
  firstErrorTime: { at: 0x198, type: "u32", ref: "s_first_error_time" },
  lastErrorTime: { at: 0x1cc, type: "u32", ref: "s_last_error_time" },
  backupGroup0: { at: 0x24c, type: "u32", ref: "s_backup_bgs[0]" },
  backupGroup1: { at: 0x250, type: "u32", ref: "s_backup_bgs[1]" },
  checksumSeed: { at: 0x270, type: "u32", ref: "s_checksum_seed" },
  checksum: { at: EXT_CHECKSUM_OFFSET, type: "u32", ref: "s_checksum" },
});

export type ExtSuperblock = Decoded<typeof EXT_SUPERBLOCK.fields>;
