/** Walks through a message of known length; what is not there is null, never an exception. */
export class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  #take(length: number): number | null {
    if (length > this.left) return null;
    this.#at += length;
    return this.#at - length;
  }

  u16(): number | null {
    const at = this.#take(2);
    return at === null ? null : this.#bytes.readUInt16BE(at);
  }

  u32(): number | null {
    const at = this.#take(4);
    return at === null ? null : this.#bytes.readUInt32BE(at);
  }

  u64(): bigint | null {
    const at = this.#take(8);
    return at === null ? null : this.#bytes.readBigUInt64BE(at);
  }

  /** A counted UTF-8 string of at most `most` bytes. */
  text(most: number): string | null {
    const length = this.u32();
    if (length === null || length > most) return null;
    const at = this.#take(length);
    return at === null ? null : this.#bytes.toString("utf8", at, at + length);
  }

  /** All that is left, as text. */
  rest(): string {
    return this.#bytes.toString("utf8", this.#take(this.left)!);
  }
}
