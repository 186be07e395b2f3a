import { checked } from "../../core/checked.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { fromMapping, type Segment } from "../../core/mapping.ts";

/** Chunks of an origin that are read from elsewhere. */
export class ChunkMap {
  readonly #chunks: Float64Array;
  readonly #places: Float64Array;

  /** Pairs of the origin's chunk and the byte offset of its replacement, in any order. Throws `corrupt` when a chunk is there twice. */
  constructor(pairs: [chunk: number, place: number][], what: string) {
    pairs.sort((a, b) => a[0] - b[0]);
    this.#chunks = Float64Array.from(pairs, (p) => p[0]);
    this.#places = Float64Array.from(pairs, (p) => p[1]);
    for (let i = 1; i < pairs.length; i++) {
      if (this.#chunks[i] !== this.#chunks[i - 1]) continue;
      throw new StorageError("corrupt", `${what}: chunk ${this.#chunks[i]} of the origin is there twice`, {
        layer: "lvm",
      });
    }
  }

  /** Tiles the range: pieces of the origin, and pieces of the store that stand in for it. */
  *map(origin: BlockDevice, store: BlockDevice, chunk: number, offset: number, length: number): Iterable<Segment> {
    const end = offset + length;
    let at = offset;
    for (let i = this.#from(Math.floor(offset / chunk)); at < end; i++) {
      const start = i < this.#chunks.length ? this.#chunks[i]! * chunk : Number.POSITIVE_INFINITY;
      if (start > at) {
        const stop = Math.min(start, end);
        yield { offset: at, length: stop - at, kind: "data", device: origin, at };
        at = stop;
      }
      if (start >= end) continue;
      const stop = Math.min(start + chunk, end);
      yield { offset: at, length: stop - at, kind: "data", device: store, at: this.#places[i]! + (at - start) };
      at = stop;
    }
  }

  /** Index of the first entry of `chunk` or a later one. */
  #from(chunk: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#chunks[middle]! < chunk) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export interface ChunkOverlayOptions {
  readonly origin: BlockDevice;
  readonly store: BlockDevice;
  /** Bytes, at most those of the origin. */
  readonly size: number;
  /** Bytes. */
  readonly chunk: number;
  /** Reads which chunks are replaced; called with the first request, and again if it failed. */
  readonly load: () => Promise<ChunkMap>;
}

/** An origin of which some chunks are read from a store. Read-only. */
export function chunkOverlay({ origin, store, size, chunk, load }: ChunkOverlayOptions): BlockDevice {
  let loaded: Promise<ChunkMap> | null = null;
  const chunks = (): Promise<ChunkMap> => {
    // Not under the signal of the request that happens to come first: the list serves all later ones.
    loaded ??= load().catch((error: unknown) => {
      loaded = null;
      throw error;
    });
    return loaded;
  };
  async function* map(offset: number, length: number): AsyncIterable<Segment> {
    yield* (await chunks()).map(origin, store, chunk, offset, length);
  }
  const caps = {
    ...origin.caps,
    writable: false,
    alignment: 1,
    extents: origin.caps.extents && store.caps.extents,
    optimalIo: Math.max(origin.caps.optimalIo, chunk),
    zero: false,
    discard: false,
  };
  return checked(fromMapping({ size, caps, layer: "lvm", map, below: [] }), "lvm");
}
