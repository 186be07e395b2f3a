import { alignDown, alignUp } from "../bytes/integers.ts";
import { BlockStore, OVERLAY_BLOCK } from "./block-store.ts";
import { checked } from "./checked.ts";
import { type BlockDevice, type Capabilities, type Extent, type IoOptions, readBytes } from "./device.ts";
import { StorageError } from "./errors.ts";
import type { ByteRange } from "./range-set.ts";
import { RwLock } from "./rw-lock.ts";

/** Bytes of written blocks that stay in memory when the caller names no other limit; more goes to the scratch file. */
export const OVERLAY_MEMORY = 128 * 1024 * 1024;
/** Differences are looked for sector by sector: the smallest unit that any disk writes. */
const COMPARE = 512;
/** Bytes handled at once when comparing and committing. */
const CHUNK = 1024 * 1024;

export interface OverlayOptions {
  /** Bytes of changed data to hold in memory; beyond it blocks go, encrypted, to a nameless file in `spillDir`. */
  readonly memoryLimit?: number | undefined;
  readonly spillDir?: string | undefined;
}

export interface CommitOptions extends IoOptions {
  /** Bytes written so far, of all that will be. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Copy on write above a device that is never written: reads see what was written here, and else the base.
 * Disposing of it leaves the base open. When the base can be resized, so can the overlay, without touching the base.
 */
export class Overlay implements BlockDevice {
  readonly caps: Capabilities;
  readonly resize?: (size: number) => Promise<void>;
  readonly prefetch?: (offset: number, length: number) => Promise<void>;
  readonly #bare: BareOverlay;
  readonly #io: BlockDevice;

  constructor(base: BlockDevice, options: OverlayOptions = {}) {
    const below = checked(base, "overlay");
    this.#bare = new BareOverlay(below, options);
    this.#io = checked(this.#bare, "overlay");
    this.caps = this.#io.caps;
    if (this.#io.resize) this.resize = this.#io.resize;
    // Also for what was written here, and is not read below any more: a hint may be wrong.
    if (below.prefetch) this.prefetch = (offset, length) => below.prefetch!(offset, length);
  }

  get size(): number {
    return this.#io.size;
  }

  /** Bytes of all blocks that were written or zeroed here, whether or not they differ from the base. */
  get touchedBytes(): number {
    return this.#bare.store.blocks * OVERLAY_BLOCK;
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#io.read(into, offset, options);
  }

  write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#io.write(from, offset, options);
  }

  zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    return this.#io.zero(offset, length, options);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#io.discard(offset, length);
  }

  extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    return this.#io.extents(offset, length, options);
  }

  /** Nothing here is meant to last: a no-op. */
  flush(): Promise<void> {
    return this.#io.flush();
  }

  /**
   * Where the content really differs from the base, in sectors of 512 bytes, coalesced, ascending. Beyond the base's end it is
   * compared with zeros. The caller must not write meanwhile.
   */
  changedRanges(options?: IoOptions): AsyncIterable<ByteRange> {
    return this.#bare.changedRanges(options);
  }

  /** Bytes in `changedRanges()`. */
  async changedBytes(options?: IoOptions): Promise<number> {
    let sum = 0;
    for await (const range of this.changedRanges(options)) sum += range.length;
    return sum;
  }

  /** Writes the changed ranges, and no others, into `target` in ascending order; sets its size first when it differs. Does not flush. */
  async commitTo(target: BlockDevice, options: CommitOptions = {}): Promise<void> {
    const ranges: ByteRange[] = [];
    for await (const range of this.changedRanges(options)) ranges.push(range);
    if (target.size !== this.size) {
      if (!target.resize) throw new StorageError("range", "the target cannot change its size", { layer: "overlay" });
      await target.resize(this.size);
    }
    const total = ranges.reduce((sum, r) => sum + r.length, 0);
    let done = 0;
    for (const range of ranges) {
      for (let at = range.offset; at < range.offset + range.length; ) {
        const { length, zero } = this.#bare.piece(at, Math.min(CHUNK, range.offset + range.length - at));
        if (zero) await target.zero(at, length, options);
        else await target.write(await readBytes(this, at, length, options), at, options);
        at += length;
        done += length;
        options.onProgress?.(done, total);
      }
    }
  }

  /** Goes back to the base: its content and its size. */
  discardAll(): Promise<void> {
    return this.#bare.discardAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#io[Symbol.asyncDispose]();
  }
}

class BareOverlay implements BlockDevice {
  readonly caps: Capabilities;
  readonly resize?: (size: number) => Promise<void>;
  readonly store: BlockStore;
  readonly #base: BlockDevice;
  readonly #lock = new RwLock();
  #size: number;

  constructor(base: BlockDevice, options: OverlayOptions) {
    this.#base = base;
    this.#size = base.size;
    this.store = new BlockStore(options.memoryLimit ?? OVERLAY_MEMORY, options.spillDir);
    this.caps = { ...base.caps, writable: true, alignment: 1, zero: true, discard: false };
    if (base.resize) this.resize = (size) => this.#lock.exclusive(() => this.#resize(size));
  }

  get size(): number {
    return this.#size;
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#lock.shared(() => this.#read(into, offset, options));
  }

  write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#lock.exclusive(async () => {
      const end = offset + from.length;
      const first = alignUp(offset, OVERLAY_BLOCK);
      const last = alignDown(end, OVERLAY_BLOCK);
      if (first > last) return this.#patch(offset, from.length, (block, at) => block.set(from, at), options);
      const head = from.subarray(0, first - offset);
      const tail = from.subarray(last - offset);
      if (head.length > 0) await this.#patch(offset, head.length, (block, at) => block.set(head, at), options);
      if (last > first) this.store.write(first / OVERLAY_BLOCK, from.subarray(first - offset, last - offset));
      if (tail.length > 0) await this.#patch(last, tail.length, (block, at) => block.set(tail, at), options);
    });
  }

  zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    return this.#lock.exclusive(() => this.#zero(offset, length, options));
  }

  /** Keeping the bytes is allowed, and writes nothing into the source later. */
  async discard(): Promise<void> {}

  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const { state, to } = this.#runAt(at, end);
      if (state !== "absent") yield { offset: at, length: to - at, kind: state };
      else {
        const seen = Math.min(to, Math.max(at, this.#base.size));
        if (seen > at) yield* this.#base.extents(at, seen - at, options);
        if (to > seen) yield { offset: seen, length: to - seen, kind: "hole" };
      }
      at = to;
    }
  }

  async flush(): Promise<void> {}

  async *changedRanges(options?: IoOptions): AsyncIterable<ByteRange> {
    let pending: ByteRange | null = null;
    for (const run of this.store.runs()) {
      const start = run.block * OVERLAY_BLOCK;
      const end = Math.min(start + run.count * OVERLAY_BLOCK, this.#size);
      for await (const found of this.#differences(start, end, run.state, options)) {
        if (pending && pending.offset + pending.length === found.offset) {
          pending = { offset: pending.offset, length: pending.length + found.length };
        } else {
          if (pending) yield pending;
          pending = found;
        }
      }
    }
    if (pending) yield pending;
  }

  /** How many bytes from `offset`, at most `max`, can be handled in one way, and whether they are zeros without storage. */
  piece(offset: number, max: number): { readonly length: number; readonly zero: boolean } {
    const { state, to } = this.#runAt(offset, offset + max);
    return { length: to - offset, zero: state === "zero" };
  }

  discardAll(): Promise<void> {
    return this.#lock.exclusive(async () => {
      this.store.clear();
      this.#size = this.#base.size;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock.exclusive(async () => this.store.clear());
  }

  #runAt(offset: number, end: number) {
    const block = Math.floor(offset / OVERLAY_BLOCK);
    const { state, count } = this.store.run(block, alignUp(end, OVERLAY_BLOCK) / OVERLAY_BLOCK - block);
    return { state, to: Math.min(end, (block + count) * OVERLAY_BLOCK) };
  }

  async #read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const end = offset + into.length;
    for (let at = offset; at < end; ) {
      const { state, to } = this.#runAt(at, end);
      const part = into.subarray(at - offset, to - offset);
      if (state === "zero") part.fill(0);
      else if (state === "absent") await this.#readBase(part, at, options);
      else this.#readStore(part, at);
      at = to;
    }
  }

  #readStore(into: Uint8Array, offset: number): void {
    const start = alignDown(offset, OVERLAY_BLOCK);
    const end = alignUp(offset + into.length, OVERLAY_BLOCK);
    if (start === offset && end === offset + into.length) {
      this.store.read(start / OVERLAY_BLOCK, into);
      return;
    }
    const bounce = new Uint8Array(end - start);
    this.store.read(start / OVERLAY_BLOCK, bounce);
    into.set(bounce.subarray(offset - start, offset - start + into.length));
  }

  /** The base, with zeros beyond its end. */
  async #readBase(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const there = Math.min(into.length, Math.max(0, this.#base.size - offset));
    if (there > 0) await this.#base.read(into.subarray(0, there), offset, options);
    if (there < into.length) into.fill(0, there);
  }

  /** Changes part of one block, whose rest is filled from what is seen there now. Bytes beyond the size stay zero in the store. */
  async #patch(
    offset: number,
    length: number,
    change: (block: Uint8Array, at: number) => void,
    options?: IoOptions,
  ): Promise<void> {
    const start = alignDown(offset, OVERLAY_BLOCK);
    const block = new Uint8Array(OVERLAY_BLOCK);
    const seen = Math.min(OVERLAY_BLOCK, this.#size - start);
    if (offset > start || length < seen) await this.#read(block.subarray(0, seen), start, options);
    change(block, offset - start);
    this.store.write(start / OVERLAY_BLOCK, block);
  }

  async #zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    const end = offset + length;
    const first = alignUp(offset, OVERLAY_BLOCK);
    // The last block of the device may be cut by its end; zeroing all that is there of it takes no storage either.
    const last = end === this.#size ? alignUp(end, OVERLAY_BLOCK) : alignDown(end, OVERLAY_BLOCK);
    const blank = (from: number, to: number) =>
      this.#patch(from, to - from, (block, at) => block.fill(0, at, at + (to - from)), options);
    if (first > last) return blank(offset, end);
    if (first > offset) await blank(offset, Math.min(first, end));
    if (last > first) this.store.zero(first / OVERLAY_BLOCK, (last - first) / OVERLAY_BLOCK);
    if (end > last) await blank(last, end);
  }

  async #resize(size: number): Promise<void> {
    const old = this.#size;
    if (size < old) {
      this.store.dropFrom(alignUp(size, OVERLAY_BLOCK) / OVERLAY_BLOCK);
      // What is cut off must not come back when the size grows again.
      if (size % OVERLAY_BLOCK !== 0 && this.store.run(Math.floor(size / OVERLAY_BLOCK), 1).state === "data") {
        const to = Math.min(old, alignUp(size, OVERLAY_BLOCK));
        await this.#patch(size, to - size, (block, at) => block.fill(0, at));
      }
    } else {
      const hidden = Math.min(size, this.#base.size);
      if (hidden > old) {
        const inBlock = Math.min(hidden, alignUp(old, OVERLAY_BLOCK));
        // `#patch` reads up to the old size only: the rest of that block becomes zeros.
        if (inBlock > old) await this.#patch(old, 0, () => undefined);
        const last = alignUp(hidden, OVERLAY_BLOCK);
        if (last > inBlock)
          this.store.zero(
            alignUp(old, OVERLAY_BLOCK) / OVERLAY_BLOCK,
            (last - alignUp(old, OVERLAY_BLOCK)) / OVERLAY_BLOCK,
          );
      }
    }
    this.#size = size;
  }

  /** Differing sectors of one run of present blocks. For zeroed runs the base's own holes and zeros need no reading. */
  async *#differences(
    start: number,
    end: number,
    state: "zero" | "data",
    options?: IoOptions,
  ): AsyncIterable<ByteRange> {
    if (state === "zero") {
      const seen = Math.min(end, this.#base.size);
      if (seen <= start) return;
      for await (const e of this.#base.extents(start, seen - start, options)) {
        if (e.kind !== "data") continue;
        const old = await readBytes(this.#base, e.offset, e.length, options);
        yield* sectorsThatDiffer(old, new Uint8Array(old.length), e.offset);
      }
      return;
    }
    const now = new Uint8Array(end - start);
    const old = new Uint8Array(end - start);
    await this.read(now, start, options);
    await this.#readBase(old, start, options);
    yield* sectorsThatDiffer(old, now, start);
  }
}

function* sectorsThatDiffer(a: Uint8Array, b: Uint8Array, offset: number): IterableIterator<ByteRange> {
  const left = Buffer.from(a.buffer, a.byteOffset, a.length);
  const right = Buffer.from(b.buffer, b.byteOffset, b.length);
  if (left.equals(right)) return;
  let from = -1;
  // Sectors of the device, not of the buffer: a zeroed run may start anywhere in the base's extents.
  for (let at = 0; at < a.length; ) {
    const to = Math.min(a.length, alignDown(offset + at, COMPARE) + COMPARE - offset);
    if (left.compare(right, at, to, at, to) !== 0) {
      if (from < 0) from = at;
    } else if (from >= 0) {
      yield { offset: offset + from, length: at - from };
      from = -1;
    }
    at = to;
  }
  if (from >= 0) yield { offset: offset + from, length: a.length - from };
}
