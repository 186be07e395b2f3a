import { type BlockCipherName, blockCipher } from "./block-cipher.ts";
import { type IvMode, ivGenerator } from "./iv.ts";
import type { SectorCipher } from "./sector-cipher.ts";
import { CRYPT_CHUNK, xorEngine } from "./xor.ts";

/**
 * XTS (IEEE Std 1619-2018, 5) in bulk. A call of OpenSSL for each sector costs more than the cipher itself where sectors are small, and not
 * less than all of this where they are large. A chunk of many takes two: ECB over all the sectors' IVs gives their tweaks, then XOR, ECB
 * over all the data, and XOR again.
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
      const tweaks = engine.tweaks.subarray(0, sectors * 16);
      if (iv === "plain64") engine.numbers(sector + done / 512, step, sectors);
      else ivs(sector + done / 512, step, tweaks);
      tweak.encrypt(tweaks);
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

  return {
    sectorSize,
    encrypt: (bytes, sector) => inBulk(bytes, sector, data.encrypt),
    decrypt: (bytes, sector) => inBulk(bytes, sector, data.decrypt),
  };
}
