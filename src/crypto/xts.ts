import { aesBlocks } from "./block-cipher.ts";
import { type IvMode, ivGenerator } from "./iv.ts";
import type { SectorCipher } from "./sector-cipher.ts";
import { CRYPT_CHUNK, xorEngine } from "./xor.ts";

/**
 * AES-XTS (IEEE Std 1619-2018, 5) in bulk. One call of OpenSSL a sector would cost more than the AES itself, so a chunk of many
 * sectors takes three: ECB over all the sectors' IVs gives their tweaks, then XOR, ECB over all the data, and XOR again.
 * A sector is a multiple of 16 bytes, so ciphertext stealing never occurs.
 *
 * `key`: 32 bytes (AES-128) or 64 (AES-256); its first half encrypts the data, its second half the tweaks.
 */
export function xtsCipher(key: Uint8Array, iv: IvMode, sectorSize: number): SectorCipher {
  const half = key.length / 2;
  const data = aesBlocks(key.subarray(0, half));
  const tweak = aesBlocks(key.subarray(half));
  const ivs = ivGenerator(iv, key);
  const engine = xorEngine();

  function crypt(bytes: Uint8Array, sector: number, blocks: (input: Uint8Array) => Uint8Array): void {
    const step = sectorSize / 512;
    for (let done = 0; done < bytes.length; done += CRYPT_CHUNK) {
      const part = bytes.subarray(done, Math.min(done + CRYPT_CHUNK, bytes.length));
      const sectors = part.length / sectorSize;
      engine.other.set(tweak.encrypt(ivs(sector + done / 512, step, sectors)));
      engine.data.set(part);
      engine.xorTweaks(sectors, sectorSize);
      engine.data.set(blocks(engine.data.subarray(0, part.length)));
      engine.xorTweaks(sectors, sectorSize);
      part.set(engine.data.subarray(0, part.length));
    }
    engine.data.fill(0, 0, Math.min(bytes.length, CRYPT_CHUNK));
  }

  return {
    sectorSize,
    encrypt: (bytes, sector) => crypt(bytes, sector, data.encrypt),
    decrypt: (bytes, sector) => crypt(bytes, sector, data.decrypt),
  };
}
