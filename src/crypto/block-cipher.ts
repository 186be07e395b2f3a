import {
  type Cipher,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type Decipher,
  type KeyObject,
} from "node:crypto";
import { directly } from "./evp.ts";

/** Block ciphers with blocks of 16 bytes that OpenSSL has. Serpent and Twofish it has not. */
export type BlockCipherName = "aes" | "camellia";

/** Key lengths in bytes of both (FIPS 197, 5.2; RFC 3713, 2.1). */
const KEY_BYTES: readonly number[] = [16, 24, 32];

/**
 * Bytes that one call of node:crypto works on. Its results are allocated anew by each call: larger ones are given back to the system
 * and faulted in again every time, which can take longer than the cipher.
 */
const PORTABLE_CHUNK = 32 * 1024;

/** A raw block cipher over whole blocks, in place. Each block is independent, so one OpenSSL context serves any number of calls. */
export interface Blocks {
  encrypt(blocks: Uint8Array): void;
  decrypt(blocks: Uint8Array): void;
}

/** Takes a copy of `key` into OpenSSL's memory; the caller wipes its own. RangeError for a wrong key length. */
export function blockCipher(algorithm: BlockCipherName, key: Uint8Array): Blocks {
  const { name, secret } = cipherKey(algorithm, key, "ecb");
  return { encrypt: inPlace(name, secret, true), decrypt: inPlace(name, secret, false) };
}

function inPlace(name: string, secret: KeyObject, encrypt: boolean): (blocks: Uint8Array) => void {
  const direct = directly(name, secret, encrypt);
  let portable: Cipher | Decipher | undefined;
  return (blocks) => {
    const evp = direct(blocks.length);
    if (evp) {
      evp.update(blocks);
      return;
    }
    portable ??= (encrypt ? createCipheriv : createDecipheriv)(name, secret, null).setAutoPadding(false);
    for (let at = 0; at < blocks.length; at += PORTABLE_CHUNK) {
      const part = blocks.subarray(at, at + PORTABLE_CHUNK);
      part.set(portable.update(part));
    }
  };
}

/** OpenSSL's name of the cipher and the key as an object outside the JavaScript heap. */
export function cipherKey(algorithm: BlockCipherName, key: Uint8Array, mode: "ecb" | "cbc") {
  if (!KEY_BYTES.includes(key.length)) throw new RangeError(`${algorithm} has no keys of ${key.length} bytes`);
  return { name: `${algorithm}-${key.length * 8}-${mode}`, secret: createSecretKey(key) };
}
