import { type BlockCipherName, blockCipher } from "./block-cipher.ts";
import { type IvMode, ivGenerator } from "./iv.ts";
import type { SectorCipher } from "./sector-cipher.ts";
import { CRYPT_CHUNK, xorEngine } from "./xor.ts";

/**
 * XTS (IEEE Std 1619-2018, 5) in bulk. One call of OpenSSL a sector would cost more than the cipher itself, so a chunk of many
 * sectors takes three: ECB over all the sectors' IVs gives their tweaks, then XOR, ECB over all the data, and XOR again.
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
