import { struct } from "../../../bytes/struct.ts";
import { safeNumber } from "../../../core/numbers.ts";
import { KINDS, METADATA_BLOCK, type MetadataBlocks } from "./blocks.ts";
import { Btree } from "./btree.ts";

/** struct disk_bitmap_header: checksum, unused, block. */
const HEADER = 16;
/** Two bits for each block (dm-space-map-common.h: ENTRIES_PER_BYTE). */
const PER_BITMAP = (METADATA_BLOCK - HEADER) * 4;
/** More than 2 references: the number is in a tree of its own. */
const MANY = 3;

const ROOT = struct("disk_sm_root", "little", {
  blocks: { at: 0, type: "u64", ref: "dm-space-map-common.h: nr_blocks" },
  allocated: { at: 8, type: "u64" },
  bitmapRoot: { at: 16, type: "u64" },
  countRoot: { at: 24, type: "u64" },
});

/** How often each block is referred to (drivers/md/persistent-data/dm-space-map-disk.c). */
export class SpaceMap {
  /** Blocks that it knows; those beyond have come later and are free. */
  readonly size: number;
  readonly #blocks: MetadataBlocks;
  readonly #bitmaps: Btree;
  readonly #counts: Btree;

  constructor(blocks: MetadataBlocks, root: Uint8Array) {
    const { blocks: size, bitmapRoot, countRoot } = ROOT.decode(root);
    this.size = safeNumber(size, "the number of blocks in a space map", "lvm");
    this.#blocks = blocks;
    this.#bitmaps = new Btree(blocks, safeNumber(bitmapRoot, "the root of a space map", "lvm"), 16);
    this.#counts = new Btree(blocks, safeNumber(countRoot, "the root of a space map", "lvm"), 4);
  }

  async references(block: number): Promise<number> {
    if (block >= this.size) return 0;
    const entry = await this.#bitmaps.find(Math.floor(block / PER_BITMAP));
    if (!entry) throw this.#blocks.corrupt(`the space map does not cover block ${block}`, null);
    const bitmap = safeNumber(entry.getBigUint64(0, true), "the place of a space map bitmap", "lvm");
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
