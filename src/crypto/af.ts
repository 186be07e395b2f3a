import { type Digester, digester } from "./evp-digest.ts";
import { opensslHash } from "./hash.ts";
import { wipe } from "./wipe.ts";

/**
 * The anti-forensic splitter (LUKS1 On-Disk Format 1.2.3, 2.4): a key is blown up into stripes such that all of them are
 * needed to get it back, so that destroying any one destroys the key.
 *
 * `material`: stripes × keyBytes. Returns `keyBytes` bytes, which the caller wipes. The key of a wrong passphrase comes out
 * as noise: nothing in here tells.
 */
export function afMerge(material: Uint8Array, keyBytes: number, stripes: number, hash: string): Uint8Array {
  if (material.length < keyBytes * stripes) throw new RangeError("the key material is shorter than its stripes");
  using state = new State(keyBytes, hash);
  for (let s = 0; s < stripes; s++) {
    state.xor(material, s * keyBytes);
    if (s < stripes - 1) state.diffuse();
  }
  return state.bytes();
}

/**
 * The way back: `random` gives the first stripes - 1 stripes ((stripes - 1) × keyBytes bytes), the last is chosen to fit.
 * Returns stripes × keyBytes bytes.
 */
export function afSplit(key: Uint8Array, random: Uint8Array, stripes: number, hash: string): Uint8Array {
  const n = key.length;
  if (random.length !== n * (stripes - 1)) throw new RangeError("as many random stripes as there are, less one");
  const out = new Uint8Array(n * stripes);
  out.set(random);
  using state = new State(n, hash);
  for (let s = 0; s < stripes - 1; s++) {
    state.xor(random, s * n);
    state.diffuse();
  }
  state.xor(key, 0);
  const last = state.bytes();
  out.set(last, n * (stripes - 1));
  wipe(last);
  return out;
}

interface Piece {
  /** u32 big-endian number ‖ body */
  readonly numbered: Uint8Array;
  readonly body: Uint8Array;
}

/** A block between two stripes, in the pieces that are hashed. A keyslot has thousands of stripes, so nothing is allocated for each. */
class State implements Disposable {
  readonly #digest: Digester;
  readonly #pieces: readonly Piece[];
  /** A digest for the last piece, which may be shorter. */
  readonly #whole: Uint8Array;
  readonly #length: number;

  constructor(length: number, hash: string) {
    const { digest, size } = digester(opensslHash(hash));
    this.#digest = digest;
    this.#length = length;
    this.#whole = new Uint8Array(size);
    this.#pieces = Array.from({ length: Math.ceil(length / size) }, (_, i) => {
      const numbered = new Uint8Array(4 + Math.min(size, length - i * size));
      new DataView(numbered.buffer).setUint32(0, i);
      return { numbered, body: numbered.subarray(4) };
    });
  }

  /** With what lies in `from` at `start`. */
  xor(from: Uint8Array, start: number): void {
    let at = start;
    for (const { body } of this.#pieces) {
      for (let i = 0; i < body.length; i++) body[i]! ^= from[at++]!;
    }
  }

  /** H of the specification: each piece becomes its hash, the last cut to its length. */
  diffuse(): void {
    for (const { numbered, body } of this.#pieces) {
      if (body.length === this.#whole.length) this.#digest(numbered, body);
      else {
        this.#digest(numbered, this.#whole);
        body.set(this.#whole.subarray(0, body.length));
      }
    }
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const { body } of this.#pieces) {
      out.set(body, at);
      at += body.length;
    }
    return out;
  }

  [Symbol.dispose](): void {
    wipe(this.#whole, ...this.#pieces.map((piece) => piece.numbered));
  }
}
