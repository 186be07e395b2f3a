/** A server may cut a read into pieces in any order; this many are more than any sends. */
const MAX_PIECES = 65536;

/** Which bytes of a read have come: pieces may come in any order, but each byte once, and all of them. */
export class ReadCoverage {
  readonly #offset: bigint;
  readonly #length: number;
  readonly #pieces: { start: number; end: number }[] = [];

  constructor(offset: number, length: number) {
    this.#offset = BigInt(offset);
    this.#length = length;
  }

  /** Notes a piece at `at` of the export; where it starts in the read, or null when it does not belong to it. */
  add(at: bigint, length: number): number | null {
    const start = at - this.#offset;
    if (length === 0 || start < 0n || start + BigInt(length) > BigInt(this.#length)) return null;
    if (this.#pieces.length >= MAX_PIECES) return null;
    this.#pieces.push({ start: Number(start), end: Number(start) + length });
    return Number(start);
  }

  /** True when the pieces tile the read exactly: nothing missing, nothing twice. */
  complete(): boolean {
    let at = 0;
    for (const { start, end } of this.#pieces.sort((a, b) => a.start - b.start)) {
      if (start !== at) return false;
      at = end;
    }
    return at === this.#length;
  }
}
