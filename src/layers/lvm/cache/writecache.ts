import { isPowerOfTwo } from "../../../bytes/integers.ts";
import { struct, view } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";
import type { Limits } from "../../../core/limits.ts";
import { safeNumber, withinLimit } from "../../../core/numbers.ts";
import { slice } from "../../../core/slice.ts";
import { ChunkMap, chunkOverlay } from "../chunk-overlay.ts";

/** drivers/md/dm-writecache.c: MEMORY_SUPERBLOCK_MAGIC, MEMORY_SUPERBLOCK_VERSION. */
const MAGIC = 0x23489321;
const VERSION = 1;
/** sizeof(struct wc_memory_superblock); the entries follow, 16 bytes each: sector of the origin and sequence number. */
const HEADER = 64;
const ENTRY = 16;
const PIECE = 64 * 1024;

const SUPERBLOCK = struct("wc_memory_superblock", "little", {
  magic: { at: 0, type: "u32", ref: "drivers/md/dm-writecache.c" },
  version: { at: 4, type: "u32" },
  blockSize: { at: 8, type: "u32", ref: "bytes" },
  blocks: { at: 16, type: "u64", ref: "n_blocks" },
  sequence: { at: 24, type: "u64", ref: "seq_count: entries below it are committed" },
});

export interface WritecacheOptions {
  readonly name: string;
  readonly origin: BlockDevice;
  readonly cache: BlockDevice;
  /** Bytes, as LVM has it. */
  readonly blockSize: number;
  readonly limits: Pick<Limits, "lvmCacheBlocks">;
}

/**
 * An LV with a writecache, read as the kernel does after it resumed: of each block the committed entry with the highest sequence number,
 * else the origin (writecache_resume). For reading.
 */
export async function openWritecache(o: WritecacheOptions): Promise<BlockDevice> {
  const s = SUPERBLOCK.decode(await readBytes(o.cache, 0, HEADER));
  const corrupt = (message: string) =>
    new StorageError("corrupt", `the writecache of ${o.name}: ${message}`, { layer: "lvm", offset: 0 });
  // LVM clears a new cache; the kernel formats it when it is first used.
  if (s.magic === 0 && s.version === 0) return slice(o.origin, 0, o.origin.size, "lvm");
  if (s.magic !== MAGIC) throw corrupt("it has no superblock");
  if (s.version !== VERSION) {
    const feature = `writecache version ${s.version}`;
    throw new StorageError("unsupported", `${feature} is not known`, { layer: "lvm", feature });
  }
  const chunk = s.blockSize;
  if (!isPowerOfTwo(chunk) || chunk < 512 || chunk !== o.blockSize) {
    throw corrupt(`its superblock speaks of blocks of ${chunk} bytes, LVM of ${o.blockSize}`);
  }
  const count = safeNumber(s.blocks, "the number of blocks in a writecache", "lvm");
  withinLimit(count, o.limits.lvmCacheBlocks, "lvmCacheBlocks", "blocks of a cache", "lvm");
  const dataAt = Math.ceil((HEADER + count * ENTRY) / chunk) * chunk;
  if (dataAt + count * chunk > o.cache.size) throw corrupt(`${count} blocks do not fit into ${o.cache.size} bytes`);
  const load = async () => {
    const newest = await readEntries(o.cache, count, s.sequence, chunk, corrupt);
    const pairs = [...newest].map(([block, e]): [number, number] => [block, dataAt + e.index * chunk]);
    return new ChunkMap(pairs, `the writecache of ${o.name}`);
  };
  return chunkOverlay({ origin: o.origin, store: o.cache, size: o.origin.size, chunk, load });
}

/** Block of the origin → its newest committed entry. */
async function readEntries(
  cache: BlockDevice,
  count: number,
  committed: bigint,
  chunk: number,
  corrupt: (message: string) => StorageError,
): Promise<Map<number, { readonly index: number; readonly sequence: bigint }>> {
  const newest = new Map<number, { index: number; sequence: bigint }>();
  for (let from = 0; from < count; from += PIECE / ENTRY) {
    const there = Math.min(PIECE / ENTRY, count - from);
    const dv = view(await readBytes(cache, HEADER + from * ENTRY, there * ENTRY));
    for (let i = 0; i < there; i++) {
      const sequence = dv.getBigUint64(i * ENTRY + 8, true);
      // Unused entries have the highest number there is.
      if (sequence >= committed) continue;
      const sector = safeNumber(dv.getBigUint64(i * ENTRY, true), "the sector of a cached block", "lvm");
      const block = (sector * 512) / chunk;
      if (!Number.isSafeInteger(block)) throw corrupt(`entry ${from + i} is not on a block of the origin`);
      const known = newest.get(block);
      if (known?.sequence === sequence) throw corrupt(`block ${block} has two entries of the same age`);
      if (!known || known.sequence < sequence) newest.set(block, { index: from + i, sequence });
    }
  }
  return newest;
}
