/** A half-open run of bytes: `[offset, offset + length)`. */
export interface ByteRange {
  /** Bytes from the start. */
  readonly offset: number;
  readonly length: number;
}

/**
 * A set of byte offsets, kept as sorted, disjoint, non-touching half-open ranges.
 * Adding in ascending order is O(1); elsewhere a binary search and one splice.
 */
export class RangeSet {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #bytes = 0;

  /** Bytes in the set. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of separate ranges. */
  get count(): number {
    return this.#starts.length;
  }

  add(offset: number, length: number): void {
    if (length <= 0) return;
    let start = offset;
    let end = offset + length;
    // The first range that ends at or after the start (touching ranges merge), and the first that starts beyond the end.
    const first = this.#firstEndingFrom(start);
    let last = first;
    for (; last < this.#starts.length && this.#starts[last]! <= end; last++) {
      start = Math.min(start, this.#starts[last]!);
      end = Math.max(end, this.#ends[last]!);
      this.#bytes -= this.#ends[last]! - this.#starts[last]!;
    }
    this.#starts.splice(first, last - first, start);
    this.#ends.splice(first, last - first, end);
    this.#bytes += end - start;
  }

  subtract(offset: number, length: number): void {
    if (length <= 0) return;
    const end = offset + length;
    const first = this.#firstEndingFrom(offset + 1);
    const starts: number[] = [];
    const ends: number[] = [];
    let last = first;
    for (; last < this.#starts.length && this.#starts[last]! < end; last++) {
      const from = this.#starts[last]!;
      const to = this.#ends[last]!;
      this.#bytes -= Math.min(to, end) - Math.max(from, offset);
      if (from < offset) {
        starts.push(from);
        ends.push(offset);
      }
      if (to > end) {
        starts.push(end);
        ends.push(to);
      }
    }
    this.#starts.splice(first, last - first, ...starts);
    this.#ends.splice(first, last - first, ...ends);
  }

  /** True when every byte of the range is in the set. An empty range always is. */
  has(offset: number, length = 1): boolean {
    if (length <= 0) return true;
    const i = this.#firstEndingFrom(offset + 1);
    return i < this.#starts.length && this.#starts[i]! <= offset && this.#ends[i]! >= offset + length;
  }

  /** Ascending. */
  *[Symbol.iterator](): IterableIterator<ByteRange> {
    for (let i = 0; i < this.#starts.length; i++) {
      yield { offset: this.#starts[i]!, length: this.#ends[i]! - this.#starts[i]! };
    }
  }

  /** What lies in `[offset, offset + length)` and not in the set; ascending. */
  *gaps(offset: number, length: number): IterableIterator<ByteRange> {
    const end = offset + length;
    let at = offset;
    for (let i = this.#firstEndingFrom(offset + 1); at < end && i < this.#starts.length; i++) {
      const start = Math.min(this.#starts[i]!, end);
      if (start > at) yield { offset: at, length: start - at };
      at = Math.max(at, this.#ends[i]!);
    }
    if (at < end) yield { offset: at, length: end - at };
  }

  /** Index of the first range whose end is at or after `offset`. */
  #firstEndingFrom(offset: number): number {
    let low = 0;
    let high = this.#ends.length;
    if (high > 0 && this.#ends[high - 1]! < offset) return high;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#ends[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
