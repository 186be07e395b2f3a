import { createHash } from "node:crypto";
import { view } from "../bytes/struct.ts";
import { type AesBlocks, aesBlocks } from "./block-cipher.ts";
import { wipe } from "./wipe.ts";

/**
 * How dm-crypt and QEMU make a sector's initial vector out of its number (Linux, drivers/md/dm-crypt.c):
 * plain: the low 32 bits, little-endian, padded with zeros to 16 bytes; plain64: all 64 bits;
 * essiv:sha256: plain64, encrypted with AES-256 under the SHA-256 of the volume key.
 */
export type IvMode = "plain" | "plain64" | "essiv:sha256";

/** Makes the vectors of many sectors at once: `count` × 16 bytes, for the numbers `first`, `first + step`, … */
export type IvGenerator = (first: number, step: number, count: number) => Uint8Array;

export function ivGenerator(mode: IvMode, key: Uint8Array): IvGenerator {
  if (mode === "plain") return (first, step, count) => numbers(first, step, count, false);
  if (mode === "plain64") return (first, step, count) => numbers(first, step, count, true);
  const essiv = essivCipher(key);
  return (first, step, count) => essiv.encrypt(numbers(first, step, count, true));
}

function essivCipher(key: Uint8Array): AesBlocks {
  const salt = createHash("sha256").update(key).digest();
  const blocks = aesBlocks(salt);
  wipe(salt);
  return blocks;
}

function numbers(first: number, step: number, count: number, wide: boolean): Uint8Array {
  const out = new Uint8Array(count * 16);
  const dv = view(out);
  for (let i = 0; i < count; i++) {
    const n = first + i * step;
    dv.setUint32(i * 16, n % 2 ** 32, true);
    if (wide) dv.setUint32(i * 16 + 4, Math.floor(n / 2 ** 32), true);
  }
  return out;
}
