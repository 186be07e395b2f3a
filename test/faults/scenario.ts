import type { BlockDevice } from "../../src/core/device.ts";

/** Two sources, changed in two batches that overlap; one grows, the other shrinks. */
export const SIZES = [300_000, 200_000] as const;

/** Bytes that look random and are the same each time. */
export function bytes(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  let x = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    out[i] = x & 0xff;
  }
  return out;
}

type Step = { readonly source: 0 | 1 } & (
  | { readonly write: number; readonly length: number; readonly seed: number }
  | { readonly size: number }
);

/** Each batch is what is done between two commits. */
export const BATCHES: readonly (readonly Step[])[] = [
  [
    { source: 0, write: 1000, length: 30_000, seed: 11 },
    { source: 0, write: 100_000, length: 700, seed: 12 },
    { source: 0, write: 102_000, length: 300, seed: 13 },
    { source: 1, write: 0, length: 9000, seed: 14 },
    { source: 0, size: 350_000 },
    { source: 0, write: 340_000, length: 10_000, seed: 15 },
  ],
  [
    { source: 0, write: 20_000, length: 20_000, seed: 21 },
    { source: 1, write: 4000, length: 2000, seed: 22 },
    { source: 1, size: 150_001 },
    { source: 0, write: 345_000, length: 100, seed: 23 },
  ],
];

export async function doBatch(batch: number, devices: readonly BlockDevice[]): Promise<void> {
  for (const step of BATCHES[batch]!) {
    const device = devices[step.source]!;
    if ("size" in step) await device.resize!(step.size);
    else await device.write(bytes(step.length, step.seed), step.write);
  }
}

/** The same by plain copying: contents of both sources after `count` batches. */
export function contentAfter(count: number): [Uint8Array, Uint8Array] {
  const contents: [Uint8Array, Uint8Array] = [bytes(SIZES[0], 1), bytes(SIZES[1], 2)];
  for (const step of BATCHES.slice(0, count).flat()) {
    if ("size" in step) {
      const resized = new Uint8Array(step.size);
      resized.set(contents[step.source].subarray(0, step.size));
      contents[step.source] = resized;
    } else {
      contents[step.source].set(bytes(step.length, step.seed), step.write);
    }
  }
  return contents;
}
