import { view } from "../../../bytes/struct.ts";
import { type BlockDevice, type IoOptions, readBytes } from "../../../core/device.ts";
import type { Limits } from "../../../core/limits.ts";
import { safeNumber, withinLimit } from "../../../core/numbers.ts";
import { type StoreHeader, storeCorrupt } from "./store.ts";

/** One exception on disk: old chunk and new chunk, u64 each (struct disk_exception). */
const EXCEPTION = 16;
/** Metadata chunks are read in pieces of this size, so that a large chunk size costs no memory. */
const PIECE = 64 * 1024;

/** Chunks of the origin, ascending, and where in the store each has its own copy. */
export interface Exceptions {
  readonly count: number;
  /** Index of the first exception whose origin chunk is `chunk` or later; `count` when there is none. */
  from(chunk: number): number;
  /** The chunk of the origin. */
  origin(index: number): number;
  /** The chunk of the store that replaces it. */
  copy(index: number): number;
}

/**
 * Reads all metadata areas: after the header's chunk comes a chunk of exceptions, then as many chunks of data as it describes, and so on;
 * an exception of new chunk 0 ends the list (drivers/md/dm-snap-persistent.c: read_exceptions). A merge takes exceptions away from
 * the end, so that what it has left is always such a list.
 */
export async function readExceptions(
  store: BlockDevice,
  header: StoreHeader,
  limits: Pick<Limits, "lvmSnapshotExceptions">,
  options?: IoOptions,
): Promise<Exceptions> {
  const { chunkSize } = header;
  const perArea = chunkSize / EXCEPTION;
  const chunks = Math.floor(store.size / chunkSize);
  const found: [number, number][] = [];
  for (let area = 0; ; area++) {
    const at = 1 + area * (perArea + 1);
    // The kernel clears the next area when one is filled; at the very end of the store there is none.
    if (at >= chunks) break;
    if (!(await readArea(store, at * chunkSize, chunkSize, options, found, { perArea, chunks }))) break;
    const max = limits.lvmSnapshotExceptions;
    withinLimit(found.length, max, "lvmSnapshotExceptions", "chunks of its own that a snapshot has", "lvm");
  }
  found.sort((a, b) => a[0] - b[0]);
  const olds = Float64Array.from(found, (e) => e[0]);
  const news = Float64Array.from(found, (e) => e[1]);
  for (let i = 1; i < olds.length; i++) {
    if (olds[i] === olds[i - 1]) throw storeCorrupt(`chunk ${olds[i]} of the origin has two copies`, chunkSize);
  }
  return {
    count: olds.length,
    from: (chunk) => lowerBound(olds, chunk),
    origin: (index) => olds[index]!,
    copy: (index) => news[index]!,
  };
}

/** False: the list ends in this area. */
async function readArea(
  store: BlockDevice,
  at: number,
  length: number,
  options: IoOptions | undefined,
  found: [number, number][],
  limits: { readonly perArea: number; readonly chunks: number },
): Promise<boolean> {
  for (let done = 0; done < length; done += PIECE) {
    const bytes = await readBytes(store, at + done, Math.min(PIECE, length - done), options);
    const dv = view(bytes);
    for (let i = 0; i < bytes.length; i += EXCEPTION) {
      const offset = at + done + i;
      const target = safeNumber(dv.getBigUint64(i + 8, true), "the chunk of an exception", "lvm", offset);
      if (target === 0) return false;
      const isMetadata = target % (limits.perArea + 1) === 1;
      if (target >= limits.chunks || isMetadata) {
        throw storeCorrupt(`an exception points to chunk ${target}, where no data can be`, offset);
      }
      found.push([safeNumber(dv.getBigUint64(i, true), "the chunk of an exception", "lvm", offset), target]);
    }
  }
  return true;
}

function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
