import { getHashes } from "node:crypto";

/**
 * Hashes of LUKS headers that this program takes part in: the name in the header, and OpenSSL's. cryptsetup hands any name on to OpenSSL and
 * translates two (lib/crypto_backend/crypto_openssl.c, crypt_hash_compat_name). Others (whirlpool, which libgcrypt once had wrong
 * and Node's OpenSSL lacks, streebog, keyed variants) are refused by name.
 */
const HASHES: Readonly<Record<string, string>> = {
  md5: "md5",
  sha1: "sha1",
  sha224: "sha224",
  sha256: "sha256",
  sha384: "sha384",
  sha512: "sha512",
  "sha512-224": "sha512-224",
  "sha512-256": "sha512-256",
  "sha3-224": "sha3-224",
  "sha3-256": "sha3-256",
  "sha3-384": "sha3-384",
  "sha3-512": "sha3-512",
  "blake2b-512": "blake2b512",
  "blake2s-256": "blake2s256",
  ripemd160: "ripemd160",
  sm3: "sm3",
};

/** Whether `name` is such a hash and this OpenSSL has it (RIPEMD-160, MD5 and SM3 may be switched off). */
export function hashKnown(name: string): boolean {
  return Object.hasOwn(HASHES, name) && getHashes().includes(HASHES[name]!);
}

/** OpenSSL's name of a known hash. RangeError for any other: ask `hashKnown` before. */
export function opensslHash(name: string): string {
  if (!Object.hasOwn(HASHES, name)) throw new RangeError(`the hash ${name} is not known`);
  return HASHES[name]!;
}
