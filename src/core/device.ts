/** What a device can do, fixed when it is opened. */
export interface Capabilities {
  readonly writable: boolean;
  /** Requests to the bare device must start and end on a multiple of this many bytes; `checked()` lifts that for callers. */
  readonly alignment: number;
  /** Logical sector size in bytes that a guest or partition table would assume (512 or 4096). */
  readonly sectorSize: number;
  /** Requests of this many bytes, aligned to it, are served best (cluster, stripe, crypto batch). */
  readonly optimalIo: number;
  /** `extents()` knows holes and zeros without reading the data. */
  readonly extents: boolean;
  /** `zero()` is cheaper than writing zeros. */
  readonly zero: boolean;
  /** `discard()` gives space back. */
  readonly discard: boolean;
}

/** data: must be read. zero: allocated, reads as zeros. hole: not allocated, reads as zeros. */
export type ExtentKind = "data" | "zero" | "hole";

export interface Extent {
  /** Bytes from the device's start. */
  readonly offset: number;
  readonly length: number;
  readonly kind: ExtentKind;
}

export interface IoOptions {
  /** Stops between chunks, never inside a metadata update; the promise then rejects with `cancelled`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Random access to a fixed number of bytes: the one interface between layers.
 *
 * Callers get devices wrapped by `checked()`: ranges, alignment, capabilities and disposal are enforced there once.
 * An implementation may rely on: `offset` and length are non-negative safe integers, inside `size`, on `caps.alignment`,
 * length > 0; no write, zero or discard reaches a device whose `caps.writable` is false.
 */
export interface BlockDevice extends AsyncDisposable {
  /** Bytes. Constant, except on a device with `resize`. */
  readonly size: number;
  readonly caps: Capabilities;
  /** Fills all of `into` from `offset`, or throws. There are no short reads. */
  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void>;
  /** Writes all of `from` at `offset`, or throws. `from` is not kept: the caller may reuse it. */
  write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void>;
  /** The range reads as zeros afterwards. */
  zero(offset: number, length: number, options?: IoOptions): Promise<void>;
  /** The range's content is no longer needed; it may read as anything that was there or as zeros. A hint: may do nothing. */
  discard(offset: number, length: number): Promise<void>;
  /** Half-open, ascending, tiling the request exactly; neighbours may have the same kind. */
  extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent>;
  /** These bytes will be read soon, so what is slow to come may be sent for. A hint: reads nothing by itself, never rejects. Absent where nothing can be done. */
  prefetch?(offset: number, length: number): Promise<void>;
  /** Everything written before is durable down to the bottom. */
  flush(): Promise<void>;
  /**
   * Only on growable bottoms (an image file): sets the size in bytes; new bytes read as zeros.
   * Absent on block devices and on all layers.
   */
  resize?(size: number): Promise<void>;
}

/** Reads `length` bytes at `offset` into a new buffer. */
export async function readBytes(
  device: BlockDevice,
  offset: number,
  length: number,
  options?: IoOptions,
): Promise<Uint8Array> {
  const out = new Uint8Array(length);
  if (length > 0) await device.read(out, offset, options);
  return out;
}
