import { view } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import type { Limits } from "../../../core/limits.ts";
import { safeNumber, withinLimit } from "../../../core/numbers.ts";
import { ChunkMap } from "../chunk-overlay.ts";
import { storeCorrupt } from "./store.ts";

/** One exception on disk: old chunk and new chunk, u64 each (struct disk_exception). */
const EXCEPTION = 16;
/** Metadata chunks are read in pieces of this size, so that a large chunk size costs no memory. */
const PIECE = 64 * 1024;

/**
 * Reads all metadata areas: after the header's chunk comes a chunk of exceptions, then as many chunks of data as it describes, and so on;
 * an exception of new chunk 0 ends the list (drivers/md/dm-snap-persistent.c: read_exceptions). A merge takes exceptions away from
 * the end, so that what it has left is always such a list.
 */
export async function readExceptions(
  store: BlockDevice,
  chunkSize: number,
  limits: Pick<Limits, "lvmSnapshotExceptions">,
): Promise<ChunkMap> {
  const perArea = chunkSize / EXCEPTION;
  const chunks = Math.floor(store.size / chunkSize);
  const found: [number, number][] = [];
  // The kernel clears the next area when one is filled; at the very end of the store there is none.
  for (let at = 1; at < chunks; at += perArea + 1) {
    if (!(await readArea(store, at, { chunkSize, perArea, chunks }, found))) break;
    const max = limits.lvmSnapshotExceptions;
    withinLimit(found.length, max, "lvmSnapshotExceptions", "chunks of its own that a snapshot has", "lvm");
  }
  return new ChunkMap(found, "exceptions of a snapshot");
}

interface Sizes {
  /** Bytes. */
  readonly chunkSize: number;
  readonly perArea: number;
  /** Chunks of the store. */
  readonly chunks: number;
}

/** False: the list ends in this area. */
async function readArea(store: BlockDevice, chunk: number, sizes: Sizes, found: [number, number][]): Promise<boolean> {
  const { chunkSize, perArea, chunks } = sizes;
  for (let done = 0; done < chunkSize; done += PIECE) {
    const base = chunk * chunkSize + done;
    const bytes = await readBytes(store, base, Math.min(PIECE, chunkSize - done));
    const dv = view(bytes);
    for (let i = 0; i < bytes.length; i += EXCEPTION) {
      const offset = base + i;
      const target = safeNumber(dv.getBigUint64(i + 8, true), "the chunk of an exception", "lvm", offset);
      if (target === 0) return false;
      if (target >= chunks || target % (perArea + 1) === 1) {
        throw storeCorrupt(`an exception points to chunk ${target}, where no data can be`, offset);
      }
      const origin = safeNumber(dv.getBigUint64(i, true), "the chunk of an exception", "lvm", offset);
      found.push([origin, target * chunkSize]);
    }
  }
  return true;
}
