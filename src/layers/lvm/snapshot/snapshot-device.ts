import { checked } from "../../../core/checked.ts";
import type { BlockDevice } from "../../../core/device.ts";
import type { Limits } from "../../../core/limits.ts";
import { fromMapping, type Segment } from "../../../core/mapping.ts";
import { type Exceptions, readExceptions } from "./exceptions.ts";
import { readStoreHeader, type StoreHeader, storeCorrupt } from "./store.ts";

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
 * Read-only. The header is read at once, the exceptions with the first request.
 */
export async function openSnapshot(options: SnapshotOptions): Promise<BlockDevice> {
  const { origin, store, size, limits } = options;
  if (size > origin.size) throw storeCorrupt(`the snapshot has ${size} bytes, its origin only ${origin.size}`, 0);
  const header = await readStoreHeader(store);
  let loaded: Promise<Exceptions> | null = null;
  const exceptions = (h: StoreHeader): Promise<Exceptions> => {
    // Not under the signal of the request that happens to come first: the list serves all later ones.
    loaded ??= readExceptions(store, h, limits).catch((error: unknown) => {
      loaded = null;
      throw error;
    });
    return loaded;
  };
  async function* map(offset: number, length: number): AsyncIterable<Segment> {
    if (!header) {
      yield { offset, length, kind: "data", device: origin, at: offset };
      return;
    }
    yield* pieces(await exceptions(header), header.chunkSize, origin, store, offset, length);
  }
  const caps = {
    ...origin.caps,
    writable: false,
    alignment: 1,
    extents: origin.caps.extents && store.caps.extents,
    optimalIo: Math.max(origin.caps.optimalIo, header?.chunkSize ?? 0),
    zero: false,
    discard: false,
  };
  return checked(fromMapping({ size, caps, layer: "lvm", map, below: [] }), "lvm");
}

function* pieces(
  exceptions: Exceptions,
  chunk: number,
  origin: BlockDevice,
  store: BlockDevice,
  offset: number,
  length: number,
): Iterable<Segment> {
  const end = offset + length;
  let at = offset;
  for (let i = exceptions.from(Math.floor(offset / chunk)); at < end; i++) {
    const start = i < exceptions.count ? exceptions.origin(i) * chunk : Number.POSITIVE_INFINITY;
    if (start > at) {
      const stop = Math.min(start, end);
      yield { offset: at, length: stop - at, kind: "data", device: origin, at };
      at = stop;
    }
    if (start >= end) continue;
    const stop = Math.min(start + chunk, end);
    yield { offset: at, length: stop - at, kind: "data", device: store, at: exceptions.copy(i) * chunk + (at - start) };
    at = stop;
  }
}
