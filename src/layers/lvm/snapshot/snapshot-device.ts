import type { BlockDevice } from "../../../core/device.ts";
import type { Limits } from "../../../core/limits.ts";
import { slice } from "../../../core/slice.ts";
import { chunkOverlay } from "../chunk-overlay.ts";
import { readExceptions } from "./exceptions.ts";
import { readStoreHeader, storeCorrupt } from "./store.ts";

export interface SnapshotOptions {
  readonly origin: BlockDevice;
  readonly store: BlockDevice;
  /** Bytes of the snapshot. */
  readonly size: number;
  readonly limits: Pick<Limits, "lvmSnapshotExceptions">;
}

/**
 * A classic snapshot: chunks that have a copy in the store are read there, all others from the origin. The same is right for an origin into
 * which a snapshot is being merged (drivers/md/dm-snap.c: snapshot_merge_map): what the store still has was not copied back yet.
 * The header is read at once, the exceptions with the first request. For reading.
 */
export async function openSnapshot({ origin, store, size, limits }: SnapshotOptions): Promise<BlockDevice> {
  if (size > origin.size) throw storeCorrupt(`the snapshot has ${size} bytes, its origin only ${origin.size}`, 0);
  const header = await readStoreHeader(store);
  if (!header) return slice(origin, 0, size, "lvm");
  const chunk = header.chunkSize;
  return chunkOverlay({ origin, store, size, chunk, load: () => readExceptions(store, chunk, limits) });
}
