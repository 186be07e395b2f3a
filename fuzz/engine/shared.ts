import { type Input, Sparse } from "./sparse.ts";

const HEADER = 32;
const ROOM = 64 * 1024 * 1024;

/**
 * What the fuzzing thread is at, where the watching thread can see it even when the former hangs: the number of the run, whether
 * one is under way, and its input.
 */
export class SharedState {
  readonly buffer: SharedArrayBuffer;
  readonly #numbers: Float64Array;
  readonly #bytes: Uint8Array;

  constructor(buffer = new SharedArrayBuffer(HEADER + ROOM)) {
    this.buffer = buffer;
    this.#numbers = new Float64Array(buffer, 0, HEADER / 8);
    this.#bytes = new Uint8Array(buffer, HEADER);
  }

  get run(): number {
    return this.#numbers[0]!;
  }

  get running(): boolean {
    return this.#numbers[1] === 1;
  }

  begin(input: Input): void {
    let at = 0;
    for (const part of input) {
      const end = part.pack(this.#bytes, at);
      if (end < 0) break;
      at = end;
    }
    this.#numbers[2] = at;
    this.#numbers[0] = this.run + 1;
    this.#numbers[1] = 1;
  }

  end(): void {
    this.#numbers[1] = 0;
  }

  /** The input of the run that is under way, as far as there was room. */
  input(): Sparse[] {
    const out: Sparse[] = [];
    for (let at = 0; at < this.#numbers[2]!; ) {
      const { image, end } = Sparse.unpack(this.#bytes, at);
      out.push(image);
      at = end;
    }
    return out;
  }
}
