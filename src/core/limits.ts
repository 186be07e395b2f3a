/**
 * Costs that an image can dictate, with the most we accept of each. Every value can be raised by `--limit NAME=VALUE`;
 * the error that a limit raises names it. Sizes in bytes unless the name says otherwise.
 */
export interface Limits {
  /** qcow2 L1 table; QEMU's QCOW_MAX_L1_SIZE is 32 MiB (block/qcow2.h). */
  readonly qcow2L1Bytes: number;
  /** qcow2 refcount table; QEMU's QCOW_MAX_REFTABLE_SIZE is 8 MiB (block/qcow2.h). */
  readonly qcow2RefcountTableBytes: number;
  /** qcow2 snapshots; QEMU's QCOW_MAX_SNAPSHOTS is 65536, of which each costs an L1 table when opened. */
  readonly qcow2Snapshots: number;
  /** VMDK descriptor text; QEMU reads up to 1 MiB. */
  readonly vmdkDescriptorBytes: number;
  /** Extents that a VMDK descriptor may list; each is an open file. 2 TiB in files of 2 GiB are 1024. */
  readonly vmdkExtents: number;
  /** Grain directory of one VMDK extent; 4 MiB are 32 TiB in grains of 64 KiB. */
  readonly vmdkDirectoryBytes: number;
  /** A compressed VMDK grain when it is expanded; all that are known are of 64 KiB. */
  readonly vmdkGrainBytes: number;
  /** VHDX log; Hyper-V and QEMU make 1 MiB. Replaying costs several times as much memory. */
  readonly vhdxLogBytes: number;
  /** Memory for counting the references of a qcow2 image that is marked dirty: 4 bytes a cluster, and the L1 tables of its snapshots. */
  readonly qcow2RebuildBytes: number;
  /** Images in one backing chain. */
  readonly backingDepth: number;
  /** Layers inside layers, counted from the source. */
  readonly nestingDepth: number;
  /** Nodes in one tree. */
  readonly nodes: number;
  /** LUKS2 JSON area; the largest header of the specification is 4 MiB (LUKS2 2.1, table 1). */
  readonly luks2JsonBytes: number;
  /** Argon2 memory in KiB that a keyslot may ask for: the most that luksFormat chooses by itself (DEFAULT_LUKS2_MEMORY_KB); by hand up to 4 GiB. */
  readonly argon2MemoryKiB: number;
  /** Argon2's passes times its memory in KiB, roughly microseconds on one core: with little memory luksFormat chooses many passes. */
  readonly argon2Work: number;
  readonly argon2Lanes: number;
  readonly pbkdf2Iterations: number;
  /** Logical partitions in an MBR's extended chain; Linux numbers up to 255. */
  readonly logicalPartitions: number;
  /** Bytes of a GPT's partition entry array; UEFI 2.10, 5.3.2 asks for at least 16 KiB. */
  readonly gptEntryBytes: number;
  /** One copy of LVM2 metadata text. */
  readonly lvmMetadataBytes: number;
  readonly lvmSegments: number;
  /** Values in one copy of LVM2 metadata text, a section counting as 9: an LV of one segment has about 40. */
  readonly lvmValues: number;
  /** Chunks that one classic LVM snapshot has of its own; each costs 16 bytes of memory. */
  readonly lvmSnapshotExceptions: number;
  /** Blocks of one LVM cache; each costs 16 bytes of memory and more while they are read. */
  readonly lvmCacheBlocks: number;
  /** ext group descriptors; 64 MiB describe 128 TiB in blocks of 4 KiB. */
  readonly extDescriptorBytes: number;
  /** Bytes of one ext directory. */
  readonly extDirectoryBytes: number;
  /** Names in one ext directory. */
  readonly extDirectoryEntries: number;
  /** Folders inside folders when a tree is listed or copied. */
  readonly extFolderDepth: number;
}

export const DEFAULT_LIMITS: Limits = {
  qcow2L1Bytes: 32 * 1024 * 1024,
  qcow2RefcountTableBytes: 8 * 1024 * 1024,
  qcow2Snapshots: 65536,
  qcow2RebuildBytes: 512 * 1024 * 1024,
  vmdkDescriptorBytes: 1024 * 1024,
  vmdkExtents: 4096,
  vmdkDirectoryBytes: 4 * 1024 * 1024,
  vmdkGrainBytes: 16 * 1024 * 1024,
  vhdxLogBytes: 2 * 1024 * 1024,
  backingDepth: 200,
  nestingDepth: 16,
  nodes: 10_000,
  luks2JsonBytes: 4 * 1024 * 1024,
  argon2MemoryKiB: 1024 * 1024,
  // 64 passes over 1 GiB, about a minute. cryptsetup aims at two seconds.
  argon2Work: 64 * 1024 * 1024,
  argon2Lanes: 64,
  pbkdf2Iterations: 100_000_000,
  logicalPartitions: 255,
  gptEntryBytes: 4 * 1024 * 1024,
  lvmMetadataBytes: 16 * 1024 * 1024,
  lvmSegments: 1_000_000,
  lvmValues: 1_000_000,
  lvmSnapshotExceptions: 4_000_000,
  lvmCacheBlocks: 4_000_000,
  extDescriptorBytes: 64 * 1024 * 1024,
  extDirectoryBytes: 256 * 1024 * 1024,
  extDirectoryEntries: 1_000_000,
  extFolderDepth: 500,
};
