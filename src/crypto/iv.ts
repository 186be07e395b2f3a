import { createHash } from "node:crypto";
import { type BlockCipherName, type Blocks, blockCipher } from "./block-cipher.ts";
import { wipe } from "./wipe.ts";

/**
 * How dm-crypt and QEMU make a sector's initial vector out of its number (Linux, drivers/md/dm-crypt.c):
 * plain: the low 32 bits, little-endian, padded with zeros to 16 bytes; plain64: all 64 bits; plain64be: all 64 bits, big-endian, in the
 * last 8 bytes; essiv:sha256: plain64, encrypted by the data's own cipher under the SHA-256 of the volume key.
 */
export type IvMode = "plain" | "plain64" | "plain64be" | "essiv:sha256";

/** Makes the vectors of many sectors at once, for the numbers `first`, `first + step`, …: as many as fit into `into`, 16 bytes each. */
export type IvGenerator = (first: number, step: number, into: Uint8Array) => void;

export function ivGenerator(mode: IvMode, algorithm: BlockCipherName, key: Uint8Array): IvGenerator {
  const numbers = numbering(mode === "essiv:sha256" ? "plain64" : mode);
  if (mode !== "essiv:sha256") return numbers;
  const essiv = essivCipher(algorithm, key);
  return (first, step, into) => {
    numbers(first, step, into);
    essiv.encrypt(into);
  };
}

function essivCipher(algorithm: BlockCipherName, key: Uint8Array): Blocks {
  const salt = createHash("sha256").update(key).digest();
  const blocks = blockCipher(algorithm, salt);
  wipe(salt);
  return blocks;
}

const FOUR_GIB = 2 ** 32;

/** One view for each memory: a new one for each chunk takes as long as the numbers in it. */
let viewed: DataView | undefined;

function viewOf(buffer: ArrayBufferLike): DataView {
  if (viewed?.buffer !== buffer) viewed = new DataView(buffer);
  return viewed;
}

function numbering(mode: "plain" | "plain64" | "plain64be"): IvGenerator {
  return (first, step, into) => {
    into.fill(0);
    const dv = viewOf(into.buffer);
    const end = into.byteOffset + into.length;
    let low = first % FOUR_GIB;
    let high = (first - low) / FOUR_GIB;
    for (let at = into.byteOffset; at < end; at += 16) {
      if (mode === "plain64be") {
        dv.setUint32(at + 8, high);
        dv.setUint32(at + 12, low);
      } else {
        dv.setUint32(at, low, true);
        if (mode === "plain64") dv.setUint32(at + 4, high, true);
      }
      low += step;
      if (low >= FOUR_GIB) {
        low -= FOUR_GIB;
        high++;
      }
    }
  };
}
