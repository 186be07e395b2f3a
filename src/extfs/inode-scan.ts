import type { ExtShape } from "./superblock.ts";

/** Places in struct ext2_inode (inodes.rst), and the few values that matter here. All lie in one 32-bit word: there are many inodes. */
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
  const words = littleEndianWords(table);
  const low = (at: number): number => words[at >> 2]! & 0xffff;
  const high = (at: number): number => words[at >> 2]! >>> 16;
  const tell = (block: number, count: number): void => {
    if (block > 0 && block + count <= blocks) found(block, count);
  };
  const extents = (at: number, directory: boolean): void => {
    const root = at + BLOCKS;
    if (low(root) !== EXTENT_MAGIC) return;
    const count = Math.min(high(root), ENTRIES_IN_INODE);
    const depth = high(root + 4);
    if (depth === 0 && !directory) return;
    for (let i = 1; i <= count; i++) {
      const entry = root + i * EXTENT_ENTRY;
      if (depth > 0) tell(words[(entry + 4) >> 2]! + low(entry + 8) * 2 ** 32, 1);
      else tell(words[(entry + 8) >> 2]! + high(entry + 4) * 2 ** 32, Math.min(low(entry + 4), MAX_EXTENT));
    }
  };
  const mapped = (at: number, directory: boolean): void => {
    for (let i = directory ? 0 : DIRECT_BLOCKS; i < DIRECT_BLOCKS + INDIRECT_BLOCKS; i++)
      tell(words[(at + BLOCKS + 4 * i) >> 2]!, 1);
  };
  for (let at = 0; at + inodeSize <= table.length; at += inodeSize) {
    const type = words[(at + MODE) >> 2]! & S_IFMT;
    if (type !== S_IFDIR && type !== S_IFREG) continue;
    const directory = type === S_IFDIR;
    const flags = words[(at + FLAGS) >> 2]!;
    tell(words[(at + FILE_ACL) >> 2]!, 1);
    if (flags & INLINE_DATA) continue;
    if (flags & EXTENTS) extents(at, directory);
    else mapped(at, directory);
  }
}

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** The words as numbers of this machine. */
function littleEndianWords(bytes: Uint8Array): Uint32Array {
  const whole = bytes.subarray(0, bytes.length & ~3);
  if (LITTLE_ENDIAN && whole.byteOffset % 4 === 0)
    return new Uint32Array(whole.buffer, whole.byteOffset, whole.length / 4);
  const copy = Buffer.from(Uint8Array.from(whole).buffer);
  if (!LITTLE_ENDIAN) copy.swap32();
  return new Uint32Array(copy.buffer, copy.byteOffset, copy.length / 4);
}
