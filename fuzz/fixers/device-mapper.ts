import { crc32cRaw } from "../../src/bytes/crc.ts";
import type { Sparse } from "../engine/sparse.ts";
import { put32, u32, u64 } from "./numbers.ts";

const BLOCK = 4096;
const NODE_HEADER = 32;
/** Salts and magics of drivers/md/dm-thin-metadata.c, dm-cache-metadata.c and persistent-data/dm-btree-spine.c. */
const SUPERBLOCKS = [
  { magic: 27022010, salt: 160774 },
  { magic: 6142003, salt: 9031977 },
];
const NODE_SALT = 121107;

/** Superblocks and btree nodes of thin pools and caches, wherever they lie in a page of their own. */
export function fixPersistentData(image: Sparse): void {
  for (const page of image.pages()) {
    const bytes = image.read(page * BLOCK, BLOCK);
    const salt = SUPERBLOCKS.find(({ magic }) => u64(bytes, 32) === magic)?.salt ?? (isNode(bytes) ? NODE_SALT : null);
    if (salt === null) continue;
    put32(bytes, 0, crc32cRaw(bytes.subarray(4), 0xffff_ffff) ^ salt);
    image.write(page * BLOCK, bytes.subarray(0, 4));
  }
}

/** What a node says of its own capacity follows from its value size. */
function isNode(bytes: Uint8Array): boolean {
  const [flags, most, valueSize] = [u32(bytes, 4), u32(bytes, 20), u32(bytes, 24)];
  if ((flags !== 1 && flags !== 2) || valueSize === 0 || valueSize > 256) return false;
  const room = Math.floor((BLOCK - NODE_HEADER) / (8 + valueSize));
  return most <= room && most > room - 3;
}
