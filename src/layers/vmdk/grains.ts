import { inflateSync } from "node:zlib";
import { struct } from "../../bytes/struct.ts";
import type { BlockPlace } from "../../core/block-map.ts";
import { checked } from "../../core/checked.ts";
import { type BlockDevice, type Extent, type IoOptions, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { corrupt, SECTOR, type SparseHeader } from "./header.ts";

/** Before each compressed grain ("Grain Marker"); the data follows at once. */
const GRAIN_MARKER = struct("VMDK grain marker", "little", {
  lba: { at: 0, type: "u64", ref: "sectors from the extent's start" },
  size: { at: 8, type: "u32", ref: "bytes of compressed data" },
});

/** Expanded grains kept, in bytes: small reads in sequence expand each grain once. */
const KEPT_BYTES = 4 * 1024 * 1024;

/** The grains of a compressed extent, each at its place in the disk. Only places that hold a grain may be read. */
export function grainExpander(
  file: BlockDevice,
  header: SparseHeader,
  place: (index: number) => BlockPlace | Promise<BlockPlace>,
): BlockDevice {
  return checked(new GrainExpander(file, header, place), "vmdk");
}

class GrainExpander implements BlockDevice {
  readonly size: number;
  readonly caps;
  readonly #file: BlockDevice;
  readonly #header: SparseHeader;
  readonly #place: (index: number) => BlockPlace | Promise<BlockPlace>;
  /** By index, oldest first. */
  readonly #expanded = new Map<number, Uint8Array>();

  constructor(file: BlockDevice, header: SparseHeader, place: (index: number) => BlockPlace | Promise<BlockPlace>) {
    this.#file = file;
    this.#header = header;
    this.#place = place;
    this.size = header.capacity;
    this.caps = {
      writable: false,
      alignment: 1,
      sectorSize: SECTOR,
      optimalIo: header.grainSize,
      extents: false,
      zero: false,
      discard: false,
    };
  }

  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const { grainSize } = this.#header;
    for (let done = 0; done < into.length; ) {
      if (options?.signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "vmdk" });
      const index = Math.floor((offset + done) / grainSize);
      const start = offset + done - index * grainSize;
      const part = (await this.#grain(index)).subarray(start, start + into.length - done);
      into.set(part, done);
      done += part.length;
    }
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    yield { offset, length, kind: "data" };
  }

  async write(): Promise<void> {}
  async zero(): Promise<void> {}
  async discard(): Promise<void> {}
  async flush(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}

  /** The grain's bytes, as many as belong to the disk. */
  async #grain(index: number): Promise<Uint8Array> {
    const known = this.#expanded.get(index);
    if (known) return known;
    const at = await this.#place(index);
    if (typeof at !== "number") throw corrupt("a grain that is not there", 0);
    const grain = await this.#expand(index, at);
    this.#expanded.set(index, grain);
    if (this.#expanded.size > Math.max(1, KEPT_BYTES / this.#header.grainSize))
      this.#expanded.delete(this.#expanded.keys().next().value!);
    return grain;
  }

  async #expand(index: number, at: number): Promise<Uint8Array> {
    const { grainSize, capacity } = this.#header;
    const dataAt = at + GRAIN_MARKER.size;
    if (dataAt > this.#file.size) throw corrupt("a grain beyond the end of the file", at);
    const marker = GRAIN_MARKER.decode(await readBytes(this.#file, at, GRAIN_MARKER.size));
    if (marker.lba !== BigInt((index * grainSize) / SECTOR))
      throw corrupt(`the marker of grain ${index} is that of sector ${marker.lba}`, at);
    // Deflate grows what it cannot shrink by a few bytes only; twice the size is what QEMU allows.
    if (marker.size === 0 || marker.size > 2 * grainSize || dataAt + marker.size > this.#file.size)
      throw corrupt(`a grain of ${marker.size} compressed bytes`, at);
    const input = await readBytes(this.#file, dataAt, marker.size);
    let out: Uint8Array;
    try {
      out = inflateSync(input, { maxOutputLength: grainSize });
    } catch (cause) {
      throw new StorageError("corrupt", "a compressed grain cannot be expanded", { layer: "vmdk", offset: at, cause });
    }
    const needed = Math.min(grainSize, capacity - index * grainSize);
    if (out.length < needed) throw corrupt(`a grain of ${out.length} bytes, not ${needed}`, at);
    return out.subarray(0, needed);
  }
}
