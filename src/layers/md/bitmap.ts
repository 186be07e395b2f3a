import { exactNumber } from "../../bytes/integers.ts";
import { struct } from "../../bytes/struct.ts";
import { type MdReader, type MdSuperblock, SECTOR } from "./superblock.ts";

/** bitmap_super_t (drivers/md/md-bitmap.h): bits of the write-intent bitmap follow after 256 bytes. */
const HEADER = struct("md bitmap superblock", "little", {
  magic: { at: 0, type: "u32", ref: "magic" },
  version: { at: 4, type: "u32", ref: "version" },
  events: { at: 24, type: "u64", ref: "events" },
  syncSize: { at: 40, type: "u64", ref: "sync_size, sectors" },
  chunk: { at: 52, type: "u32", ref: "chunksize, bytes" },
});
const HEADER_BYTES = 256;
const MAGIC = 0x6d746962;
/** Linux keeps the bitmap in the space before the data or behind the superblock: a few MiB at most. */
const MAX_BITS_BYTES = 4 * 1024 * 1024;
const READ_BYTES = 256 * 1024;

/**
 * Whether the write-intent bitmap says that some regions may not be in sync: because bits are set, or because the bitmap is older than the
 * array, so that Linux takes all of them as set (md_bitmap_read_sb). What cannot be understood counts as such too.
 */
export async function bitmapIsDirty(read: MdReader, sb: MdSuperblock): Promise<boolean> {
  if (sb.bitmapAt === null) return false;
  if (sb.bitmapAt < 0) return true;
  const raw = await read(sb.bitmapAt, HEADER_BYTES);
  if (raw.length < HEADER_BYTES) return true;
  const header = HEADER.decode(raw);
  if (header.magic !== MAGIC || header.events < sb.events || header.chunk < SECTOR) return true;
  const sectors = exactNumber(header.syncSize);
  if (sectors === null) return true;
  const bits = Math.ceil((sectors * SECTOR) / header.chunk);
  const bytes = Math.ceil(bits / 8);
  if (bytes > MAX_BITS_BYTES) return true;
  for (let at = 0; at < bytes; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, bytes - at);
    const part = await read(sb.bitmapAt + HEADER_BYTES + at, length);
    if (part.length < length) return true;
    // Bits behind the last one are padding.
    if (at + length === bytes && bits % 8 !== 0) part[length - 1] = part[length - 1]! & (2 ** (bits % 8) - 1);
    if (part.some((byte) => byte !== 0)) return true;
  }
  return false;
}
