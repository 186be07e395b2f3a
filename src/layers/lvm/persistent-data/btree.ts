import { view } from "../../../bytes/struct.ts";
import { KINDS, METADATA_BLOCK, type MetadataBlocks } from "./blocks.ts";

/** struct node_header: checksum, flags, block, entries, most entries, bytes of a value, padding (dm-btree-internal.h). */
const HEADER = 32;
const INTERNAL_NODE = 1;
const LEAF_NODE = 2;
/** A node has room for more than 80 children: 2^53 keys fit in far fewer levels. It also ends trees that lead back to themselves. */
const MAX_DEPTH = 20;

interface Node {
  readonly leaf: boolean;
  /** Strictly ascending. */
  readonly keys: Float64Array;
  readonly values: DataView;
  readonly valueSize: number;
}

/** The leaf in whose range of keys a key falls. */
export interface Leaf {
  /** Strictly ascending. */
  readonly keys: Float64Array;
  readonly values: DataView;
  readonly valueSize: number;
  /** Blocks from the root to the leaf. */
  readonly path: readonly number[];
  /** No key of the tree lies between the leaf's last one and this one; infinity after the last leaf. */
  readonly end: number;
}

/** A B+ tree from u64 to values of a fixed size (drivers/md/persistent-data/dm-btree.c), for reading. */
export class Btree {
  readonly #blocks: MetadataBlocks;
  readonly #root: number;
  readonly #valueSize: number;

  constructor(blocks: MetadataBlocks, root: number, valueSize: number) {
    this.#blocks = blocks;
    this.#root = root;
    this.#valueSize = valueSize;
  }

  async leaf(key: number): Promise<Leaf> {
    const path: number[] = [];
    let block = this.#root;
    let low = 0;
    let end = Number.POSITIVE_INFINITY;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const node = await this.#node(block);
      path.push(block);
      const { keys } = node;
      if (keys.length > 0 && (keys[0]! < low || keys[keys.length - 1]! >= end)) {
        throw this.#blocks.corrupt(`btree node ${block} has keys that its parent does not know`, block);
      }
      if (node.leaf) return { keys, values: node.values, valueSize: node.valueSize, path, end };
      if (keys.length === 0) throw this.#blocks.corrupt(`btree node ${block} has no children`, block);
      // A key before the first one is in no leaf; the first leaf is the one that says so.
      const index = Math.max(0, upperBound(keys, key) - 1);
      low = keys[index]!;
      if (index + 1 < keys.length) end = keys[index + 1]!;
      block = this.#child(node, index, block);
    }
    throw this.#blocks.corrupt(`a btree is more than ${MAX_DEPTH} levels deep`, this.#root);
  }

  /** The value's bytes, or null when the key is not there. */
  async find(key: number): Promise<DataView | null> {
    const leaf = await this.leaf(key);
    const index = upperBound(leaf.keys, key) - 1;
    if (index < 0 || leaf.keys[index] !== key) return null;
    return new DataView(leaf.values.buffer, leaf.values.byteOffset + index * leaf.valueSize, leaf.valueSize);
  }

  #node(block: number): Promise<Node> {
    return this.#blocks.get(KINDS.node, block, (bytes) => {
      const node = decodeNode(bytes);
      if (typeof node === "string") throw this.#blocks.corrupt(`btree node ${block}: ${node}`, block);
      if (node.valueSize !== (node.leaf ? this.#valueSize : 8)) {
        throw this.#blocks.corrupt(`btree node ${block} has values of ${node.valueSize} bytes`, block);
      }
      return node;
    });
  }

  #child(node: Node, index: number, parent: number): number {
    const child = Number(node.values.getBigUint64(index * 8, true));
    if (!Number.isSafeInteger(child))
      throw this.#blocks.corrupt(`btree node ${parent} has a child out of reach`, parent);
    return child;
  }
}

function decodeNode(bytes: Uint8Array): Node | string {
  const dv = view(bytes);
  const flags = dv.getUint32(4, true);
  const count = dv.getUint32(16, true);
  const most = dv.getUint32(20, true);
  const valueSize = dv.getUint32(24, true);
  if (flags !== INTERNAL_NODE && flags !== LEAF_NODE) return `its flags are ${flags}`;
  if (valueSize === 0 || HEADER + most * (8 + valueSize) > METADATA_BLOCK || count > most) {
    return `${count} of ${most} entries with values of ${valueSize} bytes`;
  }
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const key = Number(dv.getBigUint64(HEADER + i * 8, true));
    if (!Number.isSafeInteger(key) || (i > 0 && key <= keys[i - 1]!)) return "its keys do not ascend";
    keys[i] = key;
  }
  const values = new DataView(bytes.buffer, bytes.byteOffset + HEADER + most * 8, count * valueSize);
  return { leaf: flags === LEAF_NODE, keys, values, valueSize };
}

/** Index of the first key above `key`. */
export function upperBound(keys: Float64Array, key: number): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (keys[middle]! <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}
