import { createSecretKey } from "node:crypto";
import { type BlockCipherName, blockCipher } from "./block-cipher.ts";
import { directly } from "./evp.ts";
import { type IvMode, ivGenerator } from "./iv.ts";
import type { SectorCipher } from "./sector-cipher.ts";
import { CRYPT_CHUNK, xorEngine } from "./xor.ts";

/** Keys of OpenSSL's own AES-XTS, two at once, in bytes. */
const OPENSSL_KEYS: readonly number[] = [32, 64];
/** Sectors of so many bytes are worth two calls of OpenSSL each. */
const LARGE_SECTOR = 2048;

/**
 * XTS (IEEE Std 1619-2018, 5) in bulk. One call of OpenSSL a sector costs more than the cipher itself where sectors are small, so a
 * chunk of many takes three: ECB over all the sectors' IVs gives their tweaks, then XOR, ECB over all the data, and XOR again.
 * A sector is a multiple of 16 bytes, so ciphertext stealing never occurs.
 *
 * `key`: two keys of 16, 24 or 32 bytes at once; its first half encrypts the data, its second half the tweaks.
 */
export function xtsCipher(algorithm: BlockCipherName, key: Uint8Array, iv: IvMode, sectorSize: number): SectorCipher {
  const half = key.length / 2;
  const data = blockCipher(algorithm, key.subarray(0, half));
  const tweak = blockCipher(algorithm, key.subarray(half));
  const ivs = ivGenerator(iv, algorithm, key);
  const engine = xorEngine();
  const step = sectorSize / 512;

  function inBulk(bytes: Uint8Array, sector: number, blocks: (inPlace: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; done += CRYPT_CHUNK) {
      const part = bytes.subarray(done, Math.min(done + CRYPT_CHUNK, bytes.length));
      const sectors = part.length / sectorSize;
      const tweaks = ivs(sector + done / 512, step, sectors);
      tweak.encrypt(tweaks);
      engine.tweaks.set(tweaks);
      const place = engine.place(part);
      if (place !== null) {
        engine.xorTweaks(sectors, sectorSize, place);
        blocks(part);
        engine.xor(part.length, place);
        continue;
      }
      engine.data.set(part);
      engine.xorTweaks(sectors, sectorSize);
      blocks(engine.data.subarray(0, part.length));
      engine.xor(part.length);
      part.set(engine.data.subarray(0, part.length));
    }
    engine.data.fill(0, 0, Math.min(bytes.length, CRYPT_CHUNK));
  }

  /** Each sector by itself, where OpenSSL can be called without node:crypto between. */
  function bySector(encrypt: boolean): (bytes: Uint8Array, sector: number) => boolean {
    if (algorithm !== "aes" || !OPENSSL_KEYS.includes(key.length) || sectorSize < LARGE_SECTOR) return () => false;
    const direct = directly(`aes-${half * 8}-xts`, createSecretKey(key), encrypt);
    return (bytes, sector) => {
      const evp = direct(bytes.length);
      if (evp === null) return false;
      const vectors = ivs(sector, step, bytes.length / sectorSize);
      for (let at = 0, v = 0; at < bytes.length; at += sectorSize, v += 16) {
        evp.restart(vectors.subarray(v, v + 16));
        evp.update(bytes.subarray(at, at + sectorSize));
      }
      return true;
    };
  }

  const way = (encrypt: boolean) => {
    const large = bySector(encrypt);
    const blocks = encrypt ? data.encrypt : data.decrypt;
    return (bytes: Uint8Array, sector: number) => {
      if (!large(bytes, sector)) inBulk(bytes, sector, blocks);
    };
  };
  return { sectorSize, encrypt: way(true), decrypt: way(false) };
}
