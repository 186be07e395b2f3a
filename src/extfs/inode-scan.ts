import type { ExtShape } from "./superblock.ts";

/** Places in struct ext2_inode (inodes.rst), and the few values that matter here. Little-endian, read by hand: there are many inodes. */
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
 * Tells of each block that e2fsck reads because one of these inodes names it: the blocks of directories, the first level of extent trees and
 * of indirect blocks, attribute blocks. Blocks outside the file system are left out. Nothing else is judged: damage is e2fsck's to find.
 *
 * @param table whole inodes; what is left at the end is passed over
 */
export function metadataOfInodes(
  table: Uint8Array,
  shape: Pick<ExtShape, "inodeSize" | "blocks">,
  found: (block: number, count: number) => void,
): void {
  const { inodeSize, blocks } = shape;
  const u16 = (at: number): number => table[at]! + table[at + 1]! * 0x100;
  const u32 = (at: number): number => u16(at) + u16(at + 2) * 0x1_0000;
  const tell = (block: number, count: number): void => {
    if (block > 0 && block + count <= blocks) found(block, count);
  };
  const extents = (at: number, directory: boolean): void => {
    const root = at + BLOCKS;
    if (u16(root) !== EXTENT_MAGIC) return;
    const count = Math.min(u16(root + 2), ENTRIES_IN_INODE);
    const depth = u16(root + 6);
    for (let i = 1; i <= count; i++) {
      const entry = root + i * EXTENT_ENTRY;
      if (depth > 0) tell(u32(entry + 4) + u16(entry + 8) * 2 ** 32, 1);
      else if (directory) tell(u32(entry + 8) + u16(entry + 6) * 2 ** 32, Math.min(u16(entry + 4), MAX_EXTENT));
    }
  };
  const mapped = (at: number, directory: boolean): void => {
    for (let i = directory ? 0 : DIRECT_BLOCKS; i < DIRECT_BLOCKS + INDIRECT_BLOCKS; i++)
      tell(u32(at + BLOCKS + 4 * i), 1);
  };
  for (let at = 0; at + inodeSize <= table.length; at += inodeSize) {
    const type = u16(at + MODE) & S_IFMT;
    if (type !== S_IFDIR && type !== S_IFREG) continue;
    const directory = type === S_IFDIR;
    const flags = u32(at + FLAGS);
    tell(u32(at + FILE_ACL), 1);
    if (flags & INLINE_DATA) continue;
    if (flags & EXTENTS) extents(at, directory);
    else mapped(at, directory);
  }
}
