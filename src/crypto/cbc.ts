import { type Cipher, createCipheriv } from "node:crypto";
import { type BlockCipherName, blockCipher, cipherKey } from "./block-cipher.ts";
import { type IvMode, ivGenerator } from "./iv.ts";
import type { SectorCipher } from "./sector-cipher.ts";
import { CRYPT_CHUNK, xorEngine } from "./xor.ts";

const BLOCK = 16;

/**
 * CBC, each sector starting anew from its IV (NIST SP 800-38A, 6.2).
 *
 * Decryption is one ECB call over many sectors, then an XOR with the ciphertext moved on by one block, where each sector's
 * IV stands in front. Encryption is serial by nature; one OpenSSL context runs through all sectors, and what it would chain
 * from the sector before is taken out again by XORing it, with the IV, into the sector's first block.
 *
 * `key`: 16, 24 or 32 bytes.
 */
export function cbcCipher(algorithm: BlockCipherName, key: Uint8Array, iv: IvMode, sectorSize: number): SectorCipher {
  const blocks = blockCipher(algorithm, key);
  const chain = cipherKey(algorithm, key, "cbc");
  const ivs = ivGenerator(iv, algorithm, key);
  const engine = xorEngine();
  const step = sectorSize / 512;

  function decrypt(bytes: Uint8Array, sector: number): void {
    for (let done = 0; done < bytes.length; done += CRYPT_CHUNK) {
      const part = bytes.subarray(done, Math.min(done + CRYPT_CHUNK, bytes.length));
      const count = part.length / sectorSize;
      engine.other.set(part.subarray(0, part.length - BLOCK), BLOCK);
      const vectors = new Uint8Array(count * BLOCK);
      ivs(sector + done / 512, step, vectors);
      for (let i = 0; i < count; i++) engine.other.set(vectors.subarray(i * BLOCK, (i + 1) * BLOCK), i * sectorSize);
      engine.data.set(part);
      blocks.decrypt(engine.data.subarray(0, part.length));
      engine.xor(part.length);
      part.set(engine.data.subarray(0, part.length));
    }
    engine.data.fill(0, 0, Math.min(bytes.length, CRYPT_CHUNK));
  }

  function encrypt(bytes: Uint8Array, sector: number): void {
    const count = bytes.length / sectorSize;
    const vectors = new Uint8Array(count * BLOCK);
    ivs(sector, step, vectors);
    const cipher: Cipher = createCipheriv(chain.name, chain.secret, new Uint8Array(BLOCK)).setAutoPadding(false);
    for (let i = 0; i < count; i++) {
      const part = bytes.subarray(i * sectorSize, (i + 1) * sectorSize);
      const chained = i === 0 ? null : bytes.subarray(i * sectorSize - BLOCK, i * sectorSize);
      for (let b = 0; b < BLOCK; b++) part[b]! ^= vectors[i * BLOCK + b]! ^ (chained?.[b] ?? 0);
      part.set(cipher.update(part));
    }
  }

  return { sectorSize, encrypt, decrypt };
}
