import { view } from "../bytes/struct.ts";
import type { ExtShape } from "./superblock.ts";

/** Places in struct ext2_inode (inodes.rst). */
const MODE = 0x0;
const FLAGS = 0x20;
const BLOCKS = 0x28;
const FILE_ACL = 0x68;
const S_IFMT = 0xf000;
const S_IFDIR = 0x4000;
const S_IFREG = 0x8000;
const EXTENTS = 0x80000;
const INLINE_DATA = 0x1000_0000;
/** struct ext4_extent_header, ext4_extent_idx and ext4_extent (ifork.rst, "Extent Tree"). */
const EXTENT_MAGIC = 0xf30a;
const EXTENT_ENTRY = 12;
const ENTRIES_IN_INODE = 4;
/** A length above this marks an extent that reads as zeros. */
const MAX_EXTENT = 32_768;
const DIRECT_BLOCKS = 12;
const INDIRECT_BLOCKS = 3;

/**
 * Tells of each block that e2fsck reads because this inode names it: the blocks of a directory, the first level of an extent tree and
 * of indirect blocks, the attribute block. Blocks outside the file system are left out. Nothing else is judged: damage is e2fsck's to find.
 *
 * @param bytes at least the first 128 of the inode
 */
export function metadataOfInode(
  bytes: Uint8Array,
  { blocks }: Pick<ExtShape, "blocks">,
  found: (block: number, count: number) => void,
): void {
  const inode = view(bytes);
  const tell = (block: number, count: number): void => {
    if (block > 0 && block + count <= blocks) found(block, count);
  };
  const type = inode.getUint16(MODE, true) & S_IFMT;
  if (type !== S_IFDIR && type !== S_IFREG) return;
  const directory = type === S_IFDIR;
  const flags = inode.getUint32(FLAGS, true);
  tell(inode.getUint32(FILE_ACL, true), 1);
  if (flags & INLINE_DATA) return;
  if (!(flags & EXTENTS)) {
    for (let i = directory ? 0 : DIRECT_BLOCKS; i < DIRECT_BLOCKS + INDIRECT_BLOCKS; i++)
      tell(inode.getUint32(BLOCKS + 4 * i, true), 1);
    return;
  }
  if (inode.getUint16(BLOCKS, true) !== EXTENT_MAGIC) return;
  const count = Math.min(inode.getUint16(BLOCKS + 2, true), ENTRIES_IN_INODE);
  const depth = inode.getUint16(BLOCKS + 6, true);
  if (depth === 0 && !directory) return;
  for (let i = 1; i <= count; i++) {
    const entry = BLOCKS + i * EXTENT_ENTRY;
    if (depth > 0) tell(inode.getUint32(entry + 4, true) + inode.getUint16(entry + 8, true) * 2 ** 32, 1);
    else {
      const length = Math.min(inode.getUint16(entry + 4, true), MAX_EXTENT);
      tell(inode.getUint32(entry + 8, true) + inode.getUint16(entry + 6, true) * 2 ** 32, length);
    }
  }
}
