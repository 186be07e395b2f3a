/** Arithmetic on byte offsets. Offsets are numbers up to 2^53-1: never `<<`, `&` or `%` with 32-bit results on them. */

/** A u64 as an exact number, or null when it is beyond 2^53-1. */
export function exactNumber(value: bigint): number | null {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= 0n ? Number(value) : null;
}

export function alignDown(value: number, to: number): number {
  return value - (value % to);
}

/** The result may exceed 2^53-1 only when `value` is within `to` of it. */
export function alignUp(value: number, to: number): number {
  const rest = value % to;
  return rest === 0 ? value : value + (to - rest);
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

/** True when every byte is zero; compares 8 bytes at a time where the alignment allows. */
export function isZero(bytes: Uint8Array): boolean {
  let i = 0;
  if (bytes.length >= 64 && bytes.byteOffset % 8 === 0) {
    const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 8));
    for (let w = 0; w < words.length; w++) if (words[w] !== 0n) return false;
    i = words.length * 8;
  }
  for (; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}
