import { view } from "../bytes/struct.ts";
import type { ExtBlocks } from "./blocks.ts";
import type { BlockRun } from "./extent-tree.ts";
import type { ExtInode } from "./inode.ts";

const DIRECT = 12;
const LEVELS = 3;

/**
 * The run that holds logical block `wanted` of an inode with direct and indirect pointers ("Direct/Indirect Block Addressing" in ifork.rst).
 * Neighbouring pointers to neighbouring blocks are one run; a missing pointer block is one hole. Never more than three pointer blocks are read.
 */
export async function indirectAt(blocks: ExtBlocks, inode: ExtInode, wanted: number): Promise<BlockRun> {
  const perBlock = blocks.geometry.blockSize / 4;
  const what = `a block pointer of inode ${inode.number}`;
  if (wanted < DIRECT) return runIn(blocks, inode.block, DIRECT, 0, wanted, what);
  let first = DIRECT;
  for (let level = 1; level <= LEVELS; level++) {
    const span = perBlock ** level;
    if (wanted >= first + span) {
      first += span;
      continue;
    }
    let pointer = view(inode.block).getUint32((DIRECT + level - 1) * 4, true);
    let size = span;
    for (let below = level; ; below--) {
      if (pointer === 0) return { logical: first, count: size, physical: null, allocated: false };
      const table = await blocks.read(pointer, what);
      if (below === 1) return runIn(blocks, table, perBlock, first, wanted, what);
      size /= perBlock;
      const index = Math.floor((wanted - first) / size);
      pointer = view(table).getUint32(index * 4, true);
      first += index * size;
    }
  }
  // Beyond what three levels reach: nothing can be there.
  return { logical: first, count: Number.MAX_SAFE_INTEGER - first, physical: null, allocated: false };
}

/** The run around `wanted` in a table of `count` pointers whose first stands for logical block `first`. */
function runIn(
  blocks: ExtBlocks,
  table: Uint8Array,
  count: number,
  first: number,
  wanted: number,
  what: string,
): BlockRun {
  const dv = view(table);
  const pointer = (i: number) => dv.getUint32(i * 4, true);
  const start = wanted - first;
  const block = pointer(start);
  let end = start + 1;
  if (block === 0) {
    while (end < count && pointer(end) === 0) end++;
    return { logical: wanted, count: end - start, physical: null, allocated: false };
  }
  while (end < count && pointer(end) === block + (end - start)) end++;
  blocks.inside(block, end - start, what);
  return { logical: wanted, count: end - start, physical: block, allocated: true };
}
