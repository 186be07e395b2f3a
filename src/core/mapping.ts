import type { BlockDevice, Capabilities, Extent, IoOptions } from "./device.ts";
import { StorageError } from "./errors.ts";

/** Where a run of a mapped device's bytes is: in another device, or nowhere (zeros). */
export type Segment =
  | {
      readonly offset: number;
      readonly length: number;
      readonly kind: "data";
      readonly device: BlockDevice;
      readonly at: number;
    }
  | { readonly offset: number; readonly length: number; readonly kind: "zero" | "hole" };

export interface Mapping {
  /** Bytes. */
  readonly size: number;
  readonly caps: Capabilities;
  readonly layer: string;
  /**
   * Ascending segments that tile `[offset, offset + length)` exactly; the last may be cut by the caller.
   * `offset`/`length` of each are in the mapped device, `at` in the target.
   */
  map(offset: number, length: number): Iterable<Segment> | AsyncIterable<Segment>;
  /** Devices that flush() must reach. */
  readonly below: readonly BlockDevice[];
  /** Called when the device is disposed of. */
  dispose?(): Promise<void>;
}

/**
 * A device whose bytes lie unchanged in other devices (partitions, LVM linear and striped). Writes go to the same place;
 * a write to a segment without a place is refused, so a layer that allocates (qcow2) uses only the reading half.
 */
export function fromMapping(mapping: Mapping): BlockDevice {
  return new MappedDevice(mapping);
}

/** Reads through a mapping; data segments of the same call are read one after another. */
export async function readMapped(
  mapping: Pick<Mapping, "map">,
  into: Uint8Array,
  offset: number,
  options?: IoOptions,
): Promise<void> {
  const end = offset + into.length;
  for await (const s of mapping.map(offset, into.length)) {
    const from = Math.max(s.offset, offset);
    const to = Math.min(s.offset + s.length, end);
    if (from >= to) continue;
    const part = into.subarray(from - offset, to - offset);
    if (s.kind === "data") await s.device.read(part, s.at + (from - s.offset), options);
    else part.fill(0);
  }
}

/** Hands the hint on to the devices below. */
export async function prefetchMapped(mapping: Pick<Mapping, "map">, offset: number, length: number): Promise<void> {
  const end = offset + length;
  for await (const s of mapping.map(offset, length)) {
    const from = Math.max(s.offset, offset);
    const to = Math.min(s.offset + s.length, end);
    if (from < to && s.kind === "data") await s.device.prefetch?.(s.at + (from - s.offset), to - from);
  }
}

/** Extents of a mapping, asking the devices below for theirs. */
export async function* extentsMapped(
  mapping: Pick<Mapping, "map">,
  offset: number,
  length: number,
  options?: IoOptions,
): AsyncIterable<Extent> {
  const end = offset + length;
  for await (const s of mapping.map(offset, length)) {
    const from = Math.max(s.offset, offset);
    const to = Math.min(s.offset + s.length, end);
    if (from >= to) continue;
    if (s.kind !== "data") {
      yield { offset: from, length: to - from, kind: s.kind };
      continue;
    }
    const shift = s.offset - s.at;
    for await (const e of s.device.extents(from - shift, to - from, options)) yield { ...e, offset: e.offset + shift };
  }
}

class MappedDevice implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #m: Mapping;

  constructor(mapping: Mapping) {
    this.#m = mapping;
    this.size = mapping.size;
    this.caps = mapping.caps;
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return readMapped(this.#m, into, offset, options);
  }

  prefetch(offset: number, length: number): Promise<void> {
    return prefetchMapped(this.#m, offset, length);
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    await this.#each(offset, from.length, (device, at, start, length) =>
      device.write(from.subarray(start, start + length), at, options),
    );
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    await this.#each(offset, length, (device, at, _start, part) => device.zero(at, part, options));
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#each(offset, length, (device, at, _start, part) => device.discard(at, part));
  }

  extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    return extentsMapped(this.#m, offset, length, options);
  }

  async flush(): Promise<void> {
    for (const device of this.#m.below) await device.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#m.dispose?.();
  }

  async #each(
    offset: number,
    length: number,
    act: (device: BlockDevice, at: number, start: number, length: number) => Promise<void>,
  ): Promise<void> {
    const end = offset + length;
    for await (const s of this.#m.map(offset, length)) {
      const from = Math.max(s.offset, offset);
      const to = Math.min(s.offset + s.length, end);
      if (from >= to) continue;
      if (s.kind !== "data")
        throw new StorageError("read-only", "this range has no place to be written to", {
          layer: this.#m.layer,
          offset: from,
        });
      await act(s.device, s.at + (from - s.offset), from - offset, to - from);
    }
  }
}
