import { type Cipher, createCipheriv, createDecipheriv, createSecretKey, type Decipher } from "node:crypto";

/** AES key lengths in bytes (FIPS 197, 5.2). */
const AES_KEY_BYTES: readonly number[] = [16, 24, 32];

function isAesKeyLength(bytes: number): boolean {
  return AES_KEY_BYTES.includes(bytes);
}

/** Raw AES over whole blocks. Each block is independent, so one OpenSSL context serves any number of calls. */
export interface AesBlocks {
  /** A new buffer with every 16-byte block of `blocks` encrypted. */
  encrypt(blocks: Uint8Array): Uint8Array;
  decrypt(blocks: Uint8Array): Uint8Array;
}

/** Takes a copy of `key` into OpenSSL's memory; the caller wipes its own. RangeError for a wrong key length. */
export function aesBlocks(key: Uint8Array): AesBlocks {
  const { name, secret } = aesKey(key, "ecb");
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
export function aesKey(key: Uint8Array, mode: "ecb" | "cbc") {
  if (!isAesKeyLength(key.length)) throw new RangeError(`AES has no keys of ${key.length} bytes`);
  return { name: `aes-${key.length * 8}-${mode}`, secret: createSecretKey(key) };
}
