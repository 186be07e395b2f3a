import type { Finding } from "../core/finding.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { EXT_MAGIC, EXT_SUPERBLOCK, EXT_SUPERBLOCK_SIZE } from "./ext-superblock.ts";
import { readExactly } from "./info.ts";

/** The code of the finding that `findExtBackup` gives. */
export const EXT_BACKUP_FOUND = "ext-superblock-lost";

/** A bitmap of one block describes a group: 8 blocks per byte of it ("Block Groups" in ext4's blockgroup.rst). */
const BLOCKS_PER_BYTE = 8;
/** Block sizes that mke2fs chooses by itself; e2fsck looks for the backups of these (e2fsprogs, e2fsck/util.c, get_backup_sb). */
const BLOCK_SIZES = [1024, 2048, 4096];
/** s_block_group_nr, the group that the copy lies in; revision 0 does not have it and leaves 0. */
const GROUP_NUMBER_OFFSET = 0x5a;

/**
 * Looks in a volume that nothing was recognised in for the superblock's first backup, at the start of group 1, which even
 * sparse_super keeps. A hit is a hint and no file system: a backup also survives when a volume is given another use.
 */
export async function findExtBackup(window: ProbeWindow): Promise<Finding | null> {
  for (const blockSize of BLOCK_SIZES) {
    // With blocks of 1 KiB group 0 begins at block 1 (s_first_data_block).
    const offset = (BLOCKS_PER_BYTE * blockSize + (blockSize === 1024 ? 1 : 0)) * blockSize;
    const raw = await readExactly(window, offset, EXT_SUPERBLOCK_SIZE);
    if (!raw) return null;
    const sb = EXT_SUPERBLOCK.decode(raw);
    const group = raw[GROUP_NUMBER_OFFSET]! + 256 * raw[GROUP_NUMBER_OFFSET + 1]!;
    if (sb.magic !== EXT_MAGIC || 1024 * 2 ** sb.logBlockSize !== blockSize) continue;
    if (group !== 1 && sb.revision !== 0) continue;
    if (sb.blocksPerGroup !== BLOCKS_PER_BYTE * blockSize || sb.blocksCountLo === 0 || sb.inodesCount === 0) continue;
    return {
      severity: "warning",
      code: EXT_BACKUP_FOUND,
      message: `nothing is recognised here, but byte ${offset} holds the backup of an ext superblock: a file system that lost its own, or what is left of an old one`,
      layer: "ext",
      offset,
    };
  }
  return null;
}
