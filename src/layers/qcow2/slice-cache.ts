import type { Container } from "./container.ts";

/** A piece of an L2 table or refcount block, at a fixed place in the file. */
export interface Slice {
  /** Byte offset in the file. */
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  dirty: boolean;
}

/**
 * Least recently used cache of slices. Dirty slices stay until `writeDirty()`: the order between tables is the caller's.
 * Memory is `limit` bytes plus what is dirty; the caller commits when `crowded`.
 */
export class SliceCache {
  readonly #container: Container;
  readonly #what: string;
  readonly #sliceBytes: number;
  readonly #maxSlices: number;
  /** In order of use, oldest first. */
  readonly #slices = new Map<number, Slice>();
  readonly #dirty = new Set<Slice>();
  #latest: Slice | null = null;

  constructor(container: Container, what: string, sliceBytes: number, limit: number) {
    this.#container = container;
    this.#what = what;
    this.#sliceBytes = sliceBytes;
    this.#maxSlices = Math.max(4, Math.floor(limit / sliceBytes));
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** Half of the cache waits to be written. */
  get crowded(): boolean {
    return this.#dirty.size * 2 > this.#maxSlices;
  }

  /** The slice at `at` when it is in memory. */
  peek(at: number): Slice | undefined {
    if (this.#latest?.at === at) return this.#latest;
    const slice = this.#slices.get(at);
    if (slice) this.#touch(slice);
    return slice;
  }

  async load(at: number): Promise<Slice> {
    const there = this.peek(at);
    if (there) return there;
    const bytes = await this.#container.readTable(at, this.#sliceBytes, this.#what);
    // Another reader may have loaded it meanwhile: there must be one copy only.
    const raced = this.peek(at);
    if (raced) return raced;
    const slice: Slice = { at, bytes, view: new DataView(bytes.buffer), dirty: false };
    this.#slices.set(at, slice);
    this.#touch(slice);
    this.#evict();
    return slice;
  }

  markDirty(slice: Slice): void {
    slice.dirty = true;
    this.#dirty.add(slice);
  }

  /** Writes all dirty slices in ascending order, joining neighbours. No flush. */
  async writeDirty(): Promise<void> {
    const sorted = [...this.#dirty].sort((a, b) => a.at - b.at);
    for (let i = 0; i < sorted.length; ) {
      let n = 1;
      while (i + n < sorted.length && sorted[i + n]!.at === sorted[i]!.at + n * this.#sliceBytes && n < MAX_JOIN) n++;
      const run = sorted.slice(i, i + n);
      const bytes = n === 1 ? run[0]!.bytes : Buffer.concat(run.map((s) => s.bytes));
      await this.#container.write(bytes, sorted[i]!.at);
      for (const slice of run) {
        slice.dirty = false;
        this.#dirty.delete(slice);
      }
      i += n;
    }
    this.#evict();
  }

  /** Forgets the slices of a cluster that now holds something else. */
  drop(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += this.#sliceBytes) {
      const slice = this.#slices.get(at);
      if (!slice) continue;
      this.#slices.delete(at);
      this.#dirty.delete(slice);
      if (this.#latest === slice) this.#latest = null;
    }
  }

  /** Forgets all slices. */
  clear(): void {
    this.#slices.clear();
    this.#dirty.clear();
    this.#latest = null;
  }

  #touch(slice: Slice): void {
    this.#slices.delete(slice.at);
    this.#slices.set(slice.at, slice);
    this.#latest = slice;
  }

  #evict(): void {
    if (this.#slices.size <= this.#maxSlices) return;
    for (const slice of this.#slices.values()) {
      if (slice.dirty || slice === this.#latest) continue;
      this.#slices.delete(slice.at);
      if (this.#slices.size <= this.#maxSlices) return;
    }
  }
}

/** Slices written in one request. */
const MAX_JOIN = 256;
