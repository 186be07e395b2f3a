import { createHash } from "node:crypto";
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
  const key = new Uint8Array(keyBytes);
  for (let s = 0; s < stripes; s++) {
    xorInto(key, material.subarray(s * keyBytes, (s + 1) * keyBytes));
    if (s < stripes - 1) diffuse(key, hash);
  }
  return key;
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
  const state = new Uint8Array(n);
  for (let s = 0; s < stripes - 1; s++) {
    xorInto(state, random.subarray(s * n, (s + 1) * n));
    diffuse(state, hash);
  }
  xorInto(state, key);
  out.set(state, n * (stripes - 1));
  wipe(state);
  return out;
}

function xorInto(into: Uint8Array, from: Uint8Array): void {
  for (let i = 0; i < into.length; i++) into[i]! ^= from[i]!;
}

/** H of the specification: each digest-sized piece becomes hash(u32 big-endian number ‖ piece), the last cut to its length. */
function diffuse(block: Uint8Array, hash: string): void {
  const number = Buffer.alloc(4);
  for (let at = 0, i = 0; at < block.length; i++) {
    number.writeUInt32BE(i);
    const piece = block.subarray(at);
    const size = digestBytes(hash);
    const digest = createHash(opensslHash(hash)).update(number).update(piece.subarray(0, size)).digest();
    block.set(digest.subarray(0, Math.min(size, piece.length)), at);
    wipe(digest);
    at += size;
  }
}

const sizes = new Map<string, number>();

function digestBytes(hash: string): number {
  let size = sizes.get(hash);
  if (size === undefined) {
    size = createHash(opensslHash(hash)).digest().length;
    sizes.set(hash, size);
  }
  return size;
}
