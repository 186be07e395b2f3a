import { struct, view } from "../../../bytes/struct.ts";
import { safeNumber } from "../../../core/numbers.ts";
import { KINDS, METADATA_BLOCK, type MetadataBlocks } from "./blocks.ts";
import { Btree } from "./btree.ts";

/** struct disk_bitmap_header and disk_metadata_index: checksum, unused, block. */
const HEADER = 16;
/** Two bits for each block (dm-space-map-common.h: ENTRIES_PER_BYTE). */
const PER_BITMAP = (METADATA_BLOCK - HEADER) * 4;
/** struct disk_index_entry: block, free entries, first that may be free; and how many one block lists (MAX_METADATA_BITMAPS). */
const INDEX_ENTRY = 16;
const INDEX_ENTRIES = 255;
/** More than 2 references: the number is in a tree of its own. */
const MANY = 3;

const ROOT = struct("disk_sm_root", "little", {
  blocks: { at: 0, type: "u64", ref: "dm-space-map-common.h: nr_blocks" },
  allocated: { at: 8, type: "u64" },
  bitmapRoot: { at: 16, type: "u64" },
  countRoot: { at: 24, type: "u64" },
});

/** Index of a bitmap → the block that it lies in; null: there is none. */
type FindBitmap = (index: number) => Promise<bigint | null>;

/** How often each block is referred to (drivers/md/persistent-data/dm-space-map-common.c). */
export class SpaceMap {
  /** Blocks that it knows; those beyond have come later and are free. */
  readonly size: number;
  readonly #blocks: MetadataBlocks;
  readonly #findBitmap: FindBitmap;
  readonly #counts: Btree;

  /** `kind`: the space map of data blocks has a tree of bitmaps, that of the metadata itself one block that lists them. */
  constructor(blocks: MetadataBlocks, root: Uint8Array, kind: "data" | "metadata") {
    const { blocks: size, bitmapRoot, countRoot } = ROOT.decode(root);
    this.size = safeNumber(size, "the number of blocks in a space map", "lvm");
    this.#blocks = blocks;
    const bitmaps = safeNumber(bitmapRoot, "the root of a space map", "lvm");
    this.#findBitmap = kind === "data" ? inTree(blocks, bitmaps) : inIndex(blocks, bitmaps);
    this.#counts = new Btree(blocks, safeNumber(countRoot, "the root of a space map", "lvm"), 4);
  }

  async references(block: number): Promise<number> {
    if (block >= this.size) return 0;
    const place = await this.#findBitmap(Math.floor(block / PER_BITMAP));
    if (place === null) throw this.#blocks.corrupt(`the space map does not cover block ${block}`, null);
    const bitmap = safeNumber(place, "the place of a space map bitmap", "lvm");
    const bytes = await this.#blocks.get(KINDS.bitmap, bitmap, (b) => b);
    const index = block % PER_BITMAP;
    const pair = Math.floor(bytes[HEADER + Math.floor(index / 4)]! / 4 ** (index % 4)) % 4;
    // The bit with the lower number is the higher digit.
    const count = (pair % 2) * 2 + Math.floor(pair / 2);
    if (count < MANY) return count;
    const exact = await this.#counts.find(block);
    if (!exact) throw this.#blocks.corrupt(`the space map has no count for block ${block}`, null);
    return exact.getUint32(0, true);
  }
}

function inTree(blocks: MetadataBlocks, root: number): FindBitmap {
  const tree = new Btree(blocks, root, INDEX_ENTRY);
  return async (index) => (await tree.find(index))?.getBigUint64(0, true) ?? null;
}

function inIndex(blocks: MetadataBlocks, block: number): FindBitmap {
  return async (index) => {
    if (index >= INDEX_ENTRIES) return null;
    const dv = await blocks.get(KINDS.index, block, view);
    return dv.getBigUint64(HEADER + index * INDEX_ENTRY, true);
  };
}
