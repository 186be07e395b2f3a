import { createHash } from "node:crypto";
import type { NativeFunction } from "../ffi/koffi.ts";
import { fromOpenssl } from "./openssl.ts";
import { wipe } from "./wipe.ts";

/** Puts the digest of `input` into `out`, which is as long as it and may be a part of `input`. */
export type Digester = (input: Uint8Array, out: Uint8Array) => void;

/**
 * Many small digests: OpenSSL's EVP_Digest(3) called directly, where a Hash object of node:crypto for each takes ten times as long, most
 * of it to collect it again. Without koffi, or where the two do not agree, it is node:crypto. `name` as node:crypto calls it.
 */
export function digester(name: string): { readonly digest: Digester; readonly size: number } {
  let made = known.get(name);
  if (!made) {
    made = create(name);
    known.set(name, made);
  }
  return made;
}

const known = new Map<string, { readonly digest: Digester; readonly size: number }>();

function create(name: string): { readonly digest: Digester; readonly size: number } {
  const size = createHash(name).digest().length;
  const direct = native(name, size);
  const digest: Digester = (input, out) => {
    if (out.length !== size) throw new RangeError(`a digest of ${size} bytes into ${out.length}`);
    if (direct) direct(input, out);
    else {
      const made = createHash(name).update(input).digest();
      out.set(made);
      wipe(made);
    }
  };
  return { digest, size };
}

interface Evp {
  readonly fetch: NativeFunction;
  readonly digest: NativeFunction;
}

/** What each digest comes to is tried where it is chosen. */
const library = fromOpenssl<Evp>(
  (process) => ({
    fetch: process.func("void *EVP_MD_fetch(void *, const char *, const char *)"),
    digest: process.func("int EVP_Digest(void *, size_t, void *, void *, void *, void *)"),
  }),
  () => true,
);

function native(name: string, size: number): Digester | null {
  const evp = library();
  const algorithm = evp?.fetch(null, name, null) as object | null | undefined;
  if (!evp || !algorithm) return null;
  const direct: Digester = (input, out) => {
    if (evp.digest(input, input.length, out, null, algorithm, null) !== 1) throw new Error("OpenSSL gave no digest");
  };
  // A trial, with room for what a digest of another length would overwrite.
  const trial = new Uint8Array(128);
  const input = Uint8Array.from({ length: 100 }, (_, i) => i);
  if (evp.digest(input, input.length, trial, null, algorithm, null) !== 1) return null;
  const expected = createHash(name).update(input).digest();
  return expected.equals(trial.subarray(0, size)) && trial.subarray(size).every((byte) => byte === 0) ? direct : null;
}
