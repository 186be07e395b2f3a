import type { BlockCipherName } from "./block-cipher.ts";
import { cbcCipher } from "./cbc.ts";
import type { IvMode } from "./iv.ts";
import { xtsCipher } from "./xts.ts";

/** IV numbers count sectors of this many bytes, also where the encryption sector is larger (dm-crypt without iv_large_sectors). */
export const IV_SECTOR = 512;

/** Encryption of whole sectors, in place. All of it is synchronous. */
export interface SectorCipher {
  /** Bytes that are encrypted under one IV. */
  readonly sectorSize: number;
  /**
   * `data`: a multiple of `sectorSize` bytes, overwritten with the result.
   * `sector`: the IV number of the first sector, in units of 512 bytes; each next sector's is higher by sectorSize / 512.
   */
  encrypt(data: Uint8Array, sector: number): void;
  decrypt(data: Uint8Array, sector: number): void;
}

/** A cipher as dm-crypt spells it, taken apart. */
export interface CipherSpec {
  readonly algorithm: BlockCipherName;
  readonly mode: "xts" | "cbc";
  readonly iv: IvMode;
}

/** `cipher-mode-iv` of a LUKS header (cryptsetup(8), --cipher); the initial vectors go with both modes. */
const SPEC = /^(aes|camellia)-(xts|cbc)-(plain|plain64|plain64be|essiv:sha256)$/;

/** Key lengths in bytes: XTS takes two keys at once (IEEE Std 1619-2018, 5.1), which Linux allows for AES-192 as well. */
const KEY_BYTES: Readonly<Record<CipherSpec["mode"], readonly number[]>> = { xts: [32, 48, 64], cbc: [16, 24, 32] };

/** Null: this program does not know the cipher, or not with keys of that many bytes. */
export function cipherSpec(name: string, keyBytes: number): CipherSpec | null {
  const [, algorithm, mode, iv] = SPEC.exec(name) ?? [];
  if (algorithm === undefined) return null;
  const spec = { algorithm, mode, iv } as CipherSpec;
  return KEY_BYTES[spec.mode].includes(keyBytes) ? spec : null;
}

/** `key` is copied into OpenSSL's memory; the caller wipes its own. `sectorSize`: 512, 1024, 2048 or 4096. */
export function sectorCipher(spec: CipherSpec, key: Uint8Array, sectorSize: number): SectorCipher {
  const { algorithm, iv } = spec;
  return spec.mode === "xts" ? xtsCipher(algorithm, key, iv, sectorSize) : cbcCipher(algorithm, key, iv, sectorSize);
}
