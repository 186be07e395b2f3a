import { createHash } from "node:crypto";
import { view } from "../bytes/struct.ts";
import { type BlockCipherName, type Blocks, blockCipher } from "./block-cipher.ts";
import { wipe } from "./wipe.ts";

/**
 * How dm-crypt and QEMU make a sector's initial vector out of its number (Linux, drivers/md/dm-crypt.c):
 * plain: the low 32 bits, little-endian, padded with zeros to 16 bytes; plain64: all 64 bits; plain64be: all 64 bits, big-endian, in the
 * last 8 bytes; essiv:sha256: plain64, encrypted by the data's own cipher under the SHA-256 of the volume key.
 */
export type IvMode = "plain" | "plain64" | "plain64be" | "essiv:sha256";

/** Makes the vectors of many sectors at once: `count` × 16 bytes, for the numbers `first`, `first + step`, … */
export type IvGenerator = (first: number, step: number, count: number) => Uint8Array;

export function ivGenerator(mode: IvMode, algorithm: BlockCipherName, key: Uint8Array): IvGenerator {
  if (mode !== "essiv:sha256") return (first, step, count) => numbers(first, step, count, mode);
  const essiv = essivCipher(algorithm, key);
  return (first, step, count) => {
    const vectors = numbers(first, step, count, "plain64");
    essiv.encrypt(vectors);
    return vectors;
  };
}

function essivCipher(algorithm: BlockCipherName, key: Uint8Array): Blocks {
  const salt = createHash("sha256").update(key).digest();
  const blocks = blockCipher(algorithm, salt);
  wipe(salt);
  return blocks;
}

function numbers(first: number, step: number, count: number, mode: "plain" | "plain64" | "plain64be"): Uint8Array {
  const out = new Uint8Array(count * 16);
  const dv = view(out);
  for (let i = 0; i < count; i++) {
    const n = first + i * step;
    const low = n % 2 ** 32;
    const high = Math.floor(n / 2 ** 32);
    if (mode === "plain64be") {
      dv.setUint32(i * 16 + 8, high);
      dv.setUint32(i * 16 + 12, low);
      continue;
    }
    dv.setUint32(i * 16, low, true);
    if (mode === "plain64") dv.setUint32(i * 16 + 4, high, true);
  }
  return out;
}
