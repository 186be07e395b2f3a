import { createCipheriv, type KeyObject } from "node:crypto";
import { koffiIsLoaded } from "../ffi/koffi.ts";
import { fromOpenssl } from "./openssl.ts";
import { wipe } from "./wipe.ts";

/** The functions of OpenSSL's EVP interface (EVP_EncryptInit(3)) that are called. A context is opaque, and null where there is no memory. */
interface Evp {
  newContext(): object | null;
  freeContext(context: object): void;
  init(
    context: object,
    cipher: object | null,
    engine: null,
    key: Uint8Array | null,
    iv: Uint8Array | null,
    encrypt: number,
  ): number;
  update(context: object, out: Uint8Array, length: Int32Array, input: Uint8Array, bytes: number): number;
  setPadding(context: object, padding: number): number;
  cipherByName(name: string): object | null;
}

/** From so many bytes on a cipher calls OpenSSL directly: making that possible takes as long as this much does with node:crypto. */
export const MUCH = 8 * 1024 * 1024;

/** The same where koffi is loaded already. */
const SOME = 256 * 1024;

/** Contexts of ciphers that nobody can reach any more; freeing one wipes its key. */
const unreachable = new FinalizationRegistry<{ readonly evp: Evp; readonly context: object }>(({ evp, context }) =>
  evp.freeContext(context),
);

/**
 * A block cipher of the OpenSSL that is in this process anyway, called without node:crypto between: that allocates each result anew, which
 * takes longer than AES itself. Works in place.
 */
export class EvpCipher {
  readonly #evp: Evp;
  readonly #context: object;
  readonly #length = new Int32Array(1);

  private constructor(evp: Evp, context: object) {
    this.#evp = evp;
    this.#context = context;
    unreachable.register(this, { evp, context });
  }

  /** Null where OpenSSL cannot be called in this way, or does not take this cipher or key. `name` as in `openssl enc -list`. */
  static open(name: string, secret: KeyObject, encrypt: boolean): EvpCipher | null {
    const evp = library();
    const cipher = evp?.cipherByName(name);
    if (!evp || !cipher) return null;
    const context = evp.newContext();
    if (!context) return null;
    const key = secret.export();
    const done = evp.init(context, cipher, null, key, new Uint8Array(16), encrypt ? 1 : 0);
    wipe(key);
    if (done === 1 && evp.setPadding(context, 0) === 1) return new EvpCipher(evp, context);
    evp.freeContext(context);
    return null;
  }

  /** Whole blocks, in place. */
  update(bytes: Uint8Array): void {
    if (bytes.length % 16 !== 0 || bytes.length > 2 ** 30)
      throw new RangeError(`${bytes.length} bytes are no whole blocks`);
    const done = this.#evp.update(this.#context, bytes, this.#length, bytes, bytes.length);
    if (done !== 1 || this.#length[0] !== bytes.length) throw new Error("OpenSSL could not go on");
  }
}

const library = fromOpenssl<Evp>(
  (process) => ({
    newContext: process.func("void *EVP_CIPHER_CTX_new()") as Evp["newContext"],
    freeContext: process.func("void EVP_CIPHER_CTX_free(void *)") as Evp["freeContext"],
    init: process.func("int EVP_CipherInit_ex(void *, void *, void *, void *, void *, int)") as Evp["init"],
    update: process.func("int EVP_CipherUpdate(void *, void *, void *, void *, int)") as Evp["update"],
    setPadding: process.func("int EVP_CIPHER_CTX_set_padding(void *, int)") as Evp["setPadding"],
    cipherByName: process.func("void *EVP_get_cipherbyname(const char *)") as Evp["cipherByName"],
  }),
  agrees,
);

/** The same block, encrypted in both ways. */
function agrees(evp: Evp): boolean {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i);
  const block = new Uint8Array(16).fill(0x5a);
  const expected = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false).update(block);
  const cipher = evp.cipherByName("aes-256-ecb");
  const context = evp.newContext();
  if (!cipher || !context) return false;
  const length = new Int32Array(1);
  const done =
    evp.init(context, cipher, null, key, null, 1) === 1 &&
    evp.setPadding(context, 0) === 1 &&
    evp.update(context, block, length, block, 16) === 1;
  evp.freeContext(context);
  return done && length[0] === 16 && expected.equals(block);
}

/** For a cipher that may have much to do: told how many bytes come next, it gives the direct way once there were `MUCH`, and null before or where there is none. */
export function directly(name: string, secret: KeyObject, encrypt: boolean): (bytes: number) => EvpCipher | null {
  let done = 0;
  let evp: EvpCipher | null | undefined;
  return (bytes) => {
    done += bytes;
    if (done < MUCH && !(koffiIsLoaded() && done >= SOME)) return null;
    if (evp === undefined) evp = EvpCipher.open(name, secret, encrypt);
    return evp;
  };
}
