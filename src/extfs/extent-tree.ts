import { crc32cRaw } from "../bytes/crc.ts";
import { view } from "../bytes/struct.ts";
import { type ExtBlocks, extCorrupt } from "./blocks.ts";
import type { ExtInode } from "./inode.ts";

const MAGIC = 0xf30a;
const HEADER = 12;
const ENTRY = 12;
/** EXT4_MAX_EXTENT_DEPTH. */
const MAX_DEPTH = 5;
/** ee_len above this: allocated and never written; reads as zeros. */
const INITIALISED = 32768;
/** Logical blocks are 32 bits wide. */
const END = 2 ** 32;

/** Where a run of a file's blocks is. `physical` null: nowhere, it reads as zeros (a hole, or allocated but never written). */
export interface BlockRun {
  /** First block in the file. */
  readonly logical: number;
  readonly count: number;
  readonly physical: number | null;
  readonly allocated: boolean;
}

/** A node's entries; `from` ascending. */
interface Node {
  readonly depth: number;
  readonly entries: readonly Entry[];
}
interface Entry {
  readonly from: number;
  /** Leaf: blocks. Index: 0. */
  readonly count: number;
  readonly block: number;
  readonly initialised: boolean;
}

/**
 * The run that holds logical block `wanted` of an inode with the flag EXTENTS ("Extent Tree" in ifork.rst). Every node is judged before use:
 * depth, order, and that its entries stay inside what its parent leaves to it, so that no walk can go round in circles or visit a node twice.
 */
export async function extentAt(
  blocks: ExtBlocks,
  inode: ExtInode,
  wanted: number,
  nodes: NodeCache,
): Promise<BlockRun> {
  let from = 0;
  let end = END;
  if (wanted >= END) return hole(END, Number.MAX_SAFE_INTEGER);
  let node = nodes.root ?? parse(blocks, inode, inode.block, null, 0, END, null);
  nodes.root = node;
  for (;;) {
    const i = lastAtOrBefore(node.entries, wanted);
    const entry = node.entries[i];
    const next = node.entries[i + 1]?.from ?? end;
    if (!entry) return hole(from, next);
    if (node.depth === 0) {
      const stop = entry.from + entry.count;
      if (wanted >= stop) return hole(stop, next);
      return {
        logical: entry.from,
        count: entry.count,
        physical: entry.initialised ? entry.block : null,
        allocated: true,
      };
    }
    from = entry.from;
    end = next;
    let child = nodes.get(node.depth - 1, from);
    if (!child) {
      const raw = await blocks.read(entry.block, `an extent index of inode ${inode.number}`);
      child = parse(blocks, inode, raw, node.depth - 1, from, end, entry.block);
      nodes.set(child, from);
    }
    node = child;
  }
}

/** Nodes of one file that were judged already, by depth and first logical block; bounded, because a large file has many. */
export class NodeCache {
  root: Node | null = null;
  readonly #nodes = new Map<string, Node>();

  get(depth: number, from: number): Node | undefined {
    return this.#nodes.get(`${depth}/${from}`);
  }

  set(node: Node, from: number): void {
    if (this.#nodes.size >= 256) this.#nodes.clear();
    this.#nodes.set(`${node.depth}/${from}`, node);
  }
}

function hole(from: number, end: number): BlockRun {
  return { logical: from, count: end - from, physical: null, allocated: false };
}

function lastAtOrBefore(entries: readonly Entry[], wanted: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (entries[middle]!.from <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function parse(
  blocks: ExtBlocks,
  inode: ExtInode,
  raw: Uint8Array,
  depth: number | null,
  from: number,
  end: number,
  block: number | null,
): Node {
  const at = block === null ? inode.offset : block * blocks.geometry.blockSize;
  const bad = (what: string) => extCorrupt(`the extent tree of inode ${inode.number}: ${what}`, at);
  const dv = view(raw);
  const count = dv.getUint16(2, true);
  const max = dv.getUint16(4, true);
  const stated = dv.getUint16(6, true);
  if (dv.getUint16(0, true) !== MAGIC) throw bad("a node has no magic");
  if (stated !== (depth ?? stated) || stated > MAX_DEPTH) throw bad(`a node of depth ${stated}`);
  if (count > max || HEADER + max * ENTRY > raw.length) throw bad(`${count} entries of at most ${max} in a node`);
  if (count === 0 && block !== null) throw bad("an empty node");
  if (block !== null && inode.checksumSeed !== null) {
    // struct ext4_extent_tail stands behind the last possible entry.
    const tail = HEADER + max * ENTRY;
    if (tail + 4 > raw.length || crc32cRaw(raw.subarray(0, tail), inode.checksumSeed) !== dv.getUint32(tail, true))
      throw bad("a node has a wrong checksum");
  }
  const entries: Entry[] = [];
  let previous = from;
  for (let i = 0; i < count; i++) {
    const entry = stated === 0 ? leafEntry(dv, HEADER + i * ENTRY) : indexEntry(dv, HEADER + i * ENTRY);
    const last = entry.from + Math.max(entry.count, 1);
    if (entry.from < previous || last > end || (stated === 0 && entry.count === 0))
      throw bad(`entry ${i} for block ${entry.from} is out of order`);
    blocks.inside(entry.block, Math.max(entry.count, 1), `the extent tree of inode ${inode.number}`);
    entries.push(entry);
    previous = last;
  }
  return { depth: stated, entries };
}

/** struct ext4_extent. */
function leafEntry(dv: DataView, at: number): Entry {
  const length = dv.getUint16(at + 4, true);
  const initialised = length <= INITIALISED;
  return {
    from: dv.getUint32(at, true),
    count: initialised ? length : length - INITIALISED,
    block: dv.getUint16(at + 6, true) * 0x1_0000_0000 + dv.getUint32(at + 8, true),
    initialised,
  };
}

/** struct ext4_extent_idx. */
function indexEntry(dv: DataView, at: number): Entry {
  return {
    from: dv.getUint32(at, true),
    count: 0,
    block: dv.getUint16(at + 8, true) * 0x1_0000_0000 + dv.getUint32(at + 4, true),
    initialised: true,
  };
}
