import { type Cipher, createCipheriv, createDecipheriv, createSecretKey, type Decipher } from "node:crypto";

/** Block ciphers with blocks of 16 bytes that OpenSSL has. Serpent and Twofish it has not. */
export type BlockCipherName = "aes" | "camellia";

/** Key lengths in bytes of both (FIPS 197, 5.2; RFC 3713, 2.1). */
const KEY_BYTES: readonly number[] = [16, 24, 32];

/** A raw block cipher over whole blocks. Each block is independent, so one OpenSSL context serves any number of calls. */
export interface Blocks {
  /** A new buffer with every 16-byte block of `blocks` encrypted. */
  encrypt(blocks: Uint8Array): Uint8Array;
  decrypt(blocks: Uint8Array): Uint8Array;
}

/** Takes a copy of `key` into OpenSSL's memory; the caller wipes its own. RangeError for a wrong key length. */
export function blockCipher(algorithm: BlockCipherName, key: Uint8Array): Blocks {
  const { name, secret } = cipherKey(algorithm, key, "ecb");
  let forward: Cipher | undefined;
  let backward: Decipher | undefined;
  return {
    encrypt(blocks) {
      forward ??= createCipheriv(name, secret, null).setAutoPadding(false);
      return forward.update(blocks);
    },
    decrypt(blocks) {
      backward ??= createDecipheriv(name, secret, null).setAutoPadding(false);
      return backward.update(blocks);
    },
  };
}

/** OpenSSL's name of the cipher and the key as an object outside the JavaScript heap. */
export function cipherKey(algorithm: BlockCipherName, key: Uint8Array, mode: "ecb" | "cbc") {
  if (!KEY_BYTES.includes(key.length)) throw new RangeError(`${algorithm} has no keys of ${key.length} bytes`);
  return { name: `${algorithm}-${key.length * 8}-${mode}`, secret: createSecretKey(key) };
}
