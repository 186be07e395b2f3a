/**
 * Names of ext2/3/4 feature bits as e2fsprogs prints them (lib/e2p/feature.c; "Feature Compatibility" in the kernel's
 * Documentation/filesystems/ext4/super.rst). An unnamed bit is printed as FEATURE_C<bit>, _I<bit> or _R<bit>.
 */
const COMPAT: Record<number, string> = {
  0: "dir_prealloc",
  1: "imagic_inodes",
  2: "has_journal",
  3: "ext_attr",
  4: "resize_inode",
  5: "dir_index",
  6: "lazy_bg",
  8: "snapshot_bitmap",
  9: "sparse_super2",
  10: "fast_commit",
  11: "stable_inodes",
  12: "orphan_file",
};

const INCOMPAT: Record<number, string> = {
  0: "compression",
  1: "filetype",
  2: "needs_recovery",
  3: "journal_dev",
  4: "meta_bg",
  6: "extent",
  7: "64bit",
  8: "mmp",
  9: "flex_bg",
  10: "ea_inode",
  12: "dirdata",
  13: "metadata_csum_seed",
  14: "large_dir",
  15: "inline_data",
  16: "encrypt",
  17: "casefold",
};

const RO_COMPAT: Record<number, string> = {
  0: "sparse_super",
  1: "large_file",
  3: "huge_file",
  4: "uninit_bg",
  5: "dir_nlink",
  6: "extra_isize",
  8: "quota",
  9: "bigalloc",
  10: "metadata_csum",
  11: "replica",
  12: "read-only",
  13: "project",
  14: "shared_blocks",
  15: "verity",
  16: "orphan_present",
};

export const ExtCompat = { HAS_JOURNAL: 0x4, SPARSE_SUPER2: 0x200, FAST_COMMIT: 0x400 } as const;
export const ExtIncompat = {
  COMPRESSION: 0x1,
  FILETYPE: 0x2,
  RECOVER: 0x4,
  JOURNAL_DEV: 0x8,
  META_BG: 0x10,
  EXTENTS: 0x40,
  BIT64: 0x80,
  MMP: 0x100,
  FLEX_BG: 0x200,
  EA_INODE: 0x400,
  DIRDATA: 0x1000,
  CSUM_SEED: 0x2000,
  LARGE_DIR: 0x4000,
  INLINE_DATA: 0x8000,
  ENCRYPT: 0x10000,
  CASEFOLD: 0x20000,
} as const;
export const ExtRoCompat = {
  SPARSE_SUPER: 0x1,
  LARGE_FILE: 0x2,
  BTREE_DIR: 0x4,
  HUGE_FILE: 0x8,
  UNINIT_BG: 0x10,
  BIGALLOC: 0x200,
  METADATA_CSUM: 0x400,
} as const;

const SETS = { compat: [COMPAT, "C"], incompat: [INCOMPAT, "I"], ro_compat: [RO_COMPAT, "R"] } as const;

/** Names of the bits that are set in a 32-bit mask, lowest bit first, as `dumpe2fs -h` prints them. */
export function extFeatureNames(set: keyof typeof SETS, mask: number): string[] {
  const [names, letter] = SETS[set];
  return bitsOf(mask).map((bit) => names[bit] ?? `FEATURE_${letter}${bit}`);
}

/** Bits of `mask` that e2fsprogs has no name for. */
export function hasUnnamedFeature(set: keyof typeof SETS, mask: number): boolean {
  return bitsOf(mask).some((bit) => SETS[set][0][bit] === undefined);
}

function bitsOf(mask: number): number[] {
  return Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => ((mask >>> bit) & 1) === 1);
}
