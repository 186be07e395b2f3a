import { alignDown, alignUp } from "../bytes/integers.ts";
import type { BlockDevice, Capabilities, Extent, IoOptions } from "./device.ts";
import { StorageError } from "./errors.ts";

/**
 * The one place where ranges, alignment, capabilities and disposal are checked (nbdkit's server/backend.c is the model).
 * Callers may use any byte range; what reaches `device` is inside its size and on its alignment.
 */
export function checked(device: BlockDevice, layer: string): BlockDevice {
  return device instanceof CheckedDevice ? device : new CheckedDevice(device, layer);
}

class CheckedDevice implements BlockDevice {
  readonly caps: Capabilities;
  readonly #device: BlockDevice;
  readonly #layer: string;
  #disposed = false;
  /** Tail of the queue of writes; only devices with an alignment above one byte queue (read-modify-write). */
  #queue: Promise<unknown> = Promise.resolve();
  readonly resize?: (size: number) => Promise<void>;
  readonly prefetch?: (offset: number, length: number) => Promise<void>;

  constructor(device: BlockDevice, layer: string) {
    this.#device = device;
    this.#layer = layer;
    this.caps = device.caps;
    const below = device.prefetch?.bind(device);
    if (below) {
      this.prefetch = async (offset, length) => {
        const start = alignDown(Math.max(0, offset), this.caps.alignment);
        const end = Math.min(alignUp(offset + length, this.caps.alignment), this.size);
        // What is not there is told by the read of it.
        if (!this.#disposed && start < end) await below(start, end - start).catch(() => undefined);
      };
    }
    if (!Number.isSafeInteger(device.size) || device.size < 0) {
      throw new StorageError("range", `a size of ${device.size} bytes is beyond what can be addressed`, { layer });
    }
    if (device.resize) {
      const resize = device.resize.bind(device);
      this.resize = async (size) => {
        this.#live();
        this.#writable();
        if (!Number.isSafeInteger(size) || size < 0) throw this.#error("range", `cannot resize to ${size} bytes`);
        await resize(size);
      };
    }
  }

  get size(): number {
    return this.#device.size;
  }

  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    this.#range(offset, into.length, options);
    if (into.length === 0) return;
    const a = this.caps.alignment;
    if (a === 1 || (offset % a === 0 && into.length % a === 0)) return this.#device.read(into, offset, options);
    const start = alignDown(offset, a);
    const bounce = new Uint8Array(alignUp(offset + into.length, a) - start);
    await this.#device.read(bounce, start, options);
    into.set(bounce.subarray(offset - start, offset - start + into.length));
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    this.#range(offset, from.length, options);
    this.#writable();
    if (from.length === 0) return;
    const a = this.caps.alignment;
    if (a === 1) return this.#device.write(from, offset, options);
    return this.#queued(async () => {
      if (offset % a === 0 && from.length % a === 0) return this.#device.write(from, offset, options);
      const start = alignDown(offset, a);
      const bounce = new Uint8Array(alignUp(offset + from.length, a) - start);
      await this.#device.read(bounce, start, options);
      bounce.set(from, offset - start);
      await this.#device.write(bounce, start, options);
    });
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    this.#range(offset, length, options);
    this.#writable();
    if (length === 0) return;
    const a = this.caps.alignment;
    const start = alignUp(offset, a);
    const end = alignDown(offset + length, a);
    if (start >= end) return this.write(new Uint8Array(length), offset, options);
    if (offset < start) await this.write(new Uint8Array(start - offset), offset, options);
    await this.#queued(() => this.#device.zero(start, end - start, options));
    if (end < offset + length) await this.write(new Uint8Array(offset + length - end), end, options);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#range(offset, length);
    this.#writable();
    const start = alignUp(offset, this.caps.alignment);
    const end = alignDown(offset + length, this.caps.alignment);
    if (start < end) await this.#queued(() => this.#device.discard(start, end - start));
  }

  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    this.#range(offset, length, options);
    if (length === 0) return;
    const end = offset + length;
    const start = alignDown(offset, this.caps.alignment);
    const stop = Math.min(alignUp(end, this.caps.alignment), this.size);
    for await (const e of this.#device.extents(start, stop - start, options)) {
      const from = Math.max(e.offset, offset);
      const to = Math.min(e.offset + e.length, end);
      if (from < to) yield { offset: from, length: to - from, kind: e.kind };
    }
  }

  async flush(): Promise<void> {
    this.#live();
    if (!this.caps.writable) return;
    await this.#queue;
    await this.#device.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#queue;
    await this.#device[Symbol.asyncDispose]();
  }

  #queued<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work);
    this.#queue = run.catch(() => undefined);
    return run;
  }

  #live(): void {
    if (this.#disposed) throw this.#error("io", "the device is closed already");
  }

  #range(offset: number, length: number, options?: IoOptions): void {
    this.#live();
    if (options?.signal?.aborted) throw this.#error("cancelled", "cancelled");
    if (
      !Number.isSafeInteger(offset) ||
      !Number.isSafeInteger(length) ||
      offset < 0 ||
      length < 0 ||
      offset + length > this.size
    ) {
      throw new StorageError(
        "range",
        `a request for ${length} bytes reaches outside the ${this.size} bytes that are there`,
        {
          layer: this.#layer,
          offset,
        },
      );
    }
  }

  #writable(): void {
    if (!this.caps.writable) throw this.#error("read-only", "opened for reading only");
  }

  #error(code: "io" | "cancelled" | "read-only" | "range", message: string): StorageError {
    return new StorageError(code, message, { layer: this.#layer });
  }
}
