import { isZero } from "../../../bytes/integers.ts";
import { struct } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";

/** dm-raid puts the write-intent bitmap here on each metadata device (drivers/md/dm-raid.c: super_validate). */
const BITMAP_AT = 4096;
/** Bytes before the bits (drivers/md/md-bitmap.h: sizeof(bitmap_super_t)). */
const HEADER = 256;
/** BITMAP_MAGIC, "bitm". */
const MAGIC = 0x6d746962;

const BITMAP = struct("bitmap_super_s", "little", {
  magic: { at: 0, type: "u32", ref: "drivers/md/md-bitmap.h" },
  syncSize: { at: 40, type: "u64", ref: "sectors that the bits cover" },
  chunk: { at: 52, type: "u32", ref: "bytes for each bit" },
});

/**
 * Whether the array may have been written to when it was last seen: there are regions whose copies or parity need not agree. True too when
 * the bitmap is there but makes no sense; false when there is none.
 */
export async function hasDirtyRegions(meta: BlockDevice): Promise<boolean> {
  if (meta.size < BITMAP_AT + HEADER) return false;
  const { magic, syncSize, chunk } = BITMAP.decode(await readBytes(meta, BITMAP_AT, HEADER));
  if (magic !== MAGIC) return false;
  const bits = chunk === 0 ? Number.POSITIVE_INFINITY : Math.ceil((Number(syncSize) * 512) / chunk);
  const bytes = Math.ceil(bits / 8);
  if (BITMAP_AT + HEADER + bytes > meta.size) return true;
  const step = 1024 * 1024;
  for (let at = 0; at < bytes; at += step) {
    const part = await readBytes(meta, BITMAP_AT + HEADER + at, Math.min(step, bytes - at));
    const spare = at + step >= bytes ? bytes * 8 - bits : 0;
    if (spare > 0) part[part.length - 1] = part[part.length - 1]! % 2 ** (8 - spare);
    if (!isZero(part)) return true;
  }
  return false;
}
