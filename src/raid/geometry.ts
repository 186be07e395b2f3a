import { alignDown } from "../bytes/integers.ts";
import { raid10Chunks } from "./mirror-layout.ts";

/**
 * Where the parity of a RAID5 or RAID6 row lies: ALGORITHM_* in Linux' drivers/md/raid5.h, by the kernel's numbers. The ones above 5 are
 * for RAID6 only: the rotating ones are DDF's, those that end in `6` are a RAID5 layout on all disks but the last, which holds Q.
 */
export const PARITY_ALGORITHMS = {
  0: "left-asymmetric",
  1: "right-asymmetric",
  2: "left-symmetric",
  3: "right-symmetric",
  4: "parity-first",
  5: "parity-last",
  8: "ddf-zero-restart",
  9: "ddf-N-restart",
  10: "ddf-N-continue",
  16: "left-asymmetric-6",
  17: "right-asymmetric-6",
  18: "left-symmetric-6",
  19: "right-symmetric-6",
  20: "parity-first-6",
} as const;

export type ParityAlgorithm = keyof typeof PARITY_ALGORITHMS;

/** Null: the number is none of the level's. RAID4 has its parity on the last disk always, whatever the number says. */
export function parityAlgorithm(level: 5 | 6, number: number): ParityAlgorithm | null {
  if (!(number in PARITY_ALGORITHMS) || (level === 5 && number > 5)) return null;
  return number as ParityAlgorithm;
}

/** How an array's bytes lie on its legs. `chunk` in bytes. */
export type RaidGeometry =
  /** One leg after the other. */
  | { readonly kind: "linear"; readonly chunk: number }
  /**
   * Chunks in turn. With legs of different size the longer ones go on alone, in zones of their own: there Linux before 3.14 (`original`)
   * and after it (`alternate`) start with different legs (drivers/md/raid0.h).
   */
  | { readonly kind: "raid0"; readonly chunk: number; readonly zones: "original" | "alternate" }
  | { readonly kind: "raid1" }
  | { readonly kind: "raid4"; readonly chunk: number }
  | { readonly kind: "raid5" | "raid6"; readonly chunk: number; readonly algorithm: ParityAlgorithm }
  | Raid10Geometry;

/** `near` times `far` copies of each chunk (md(4), "RAID10"). */
export interface Raid10Geometry {
  readonly kind: "raid10";
  readonly chunk: number;
  readonly near: number;
  readonly far: number;
  /** The far copies lie in the next row, not in the next section of the legs. */
  readonly offset: boolean;
  /** Legs among which far copies rotate: all of them, or fewer ("improved" layouts, geo.far_set_size in drivers/md/raid10.c). */
  readonly farSet: number;
}

export function dataLegs(geometry: RaidGeometry, legs: number): number {
  if (geometry.kind === "raid6") return legs - 2;
  return geometry.kind === "raid4" || geometry.kind === "raid5" ? legs - 1 : legs;
}

/**
 * Bytes of the array. `legSizes`: what each leg, in the order of their roles, gives to it; all levels but linear and raid0 use the same of
 * each, so there the smallest counts (raid0_size and its like in drivers/md).
 */
export function raidSize(geometry: RaidGeometry, legSizes: readonly number[]): number {
  if (geometry.kind === "linear" || geometry.kind === "raid0") {
    return legSizes.reduce((sum, size) => sum + wholeChunks(geometry.chunk, size), 0);
  }
  const smallest = Math.min(...legSizes);
  if (geometry.kind === "raid1") return smallest;
  if (geometry.kind === "raid10") return raid10Chunks(geometry, legSizes.length, smallest) * geometry.chunk;
  return alignDown(smallest, geometry.chunk) * dataLegs(geometry, legSizes.length);
}

/** Linear arrays may have no chunk size: then every byte of a leg is used. */
export function wholeChunks(chunk: number, size: number): number {
  return chunk > 0 ? alignDown(size, chunk) : size;
}

/** Why these numbers describe no array, or null. */
export function geometryProblem(geometry: RaidGeometry, legs: number): string | null {
  const { kind } = geometry;
  const chunk = kind === "raid1" ? 512 : geometry.chunk;
  if (kind === "linear" ? chunk < 0 : chunk <= 0 || !Number.isSafeInteger(chunk))
    return `a chunk size of ${chunk} bytes`;
  const least = kind === "raid6" ? 4 : kind === "raid4" || kind === "raid5" ? 2 : 1;
  if (legs < least) return `${kind} of ${legs} devices`;
  // Q tells 255 columns apart, no more (the order of 2 in GF(2^8)).
  if (kind === "raid6" && legs > 255) return `raid6 of ${legs} devices`;
  if (kind !== "raid10") return null;
  const { near, far, farSet } = geometry;
  if (near < 1 || far < 1 || near * far > legs) return `${near} near and ${far} far copies on ${legs} devices`;
  return farSet < 1 || farSet > legs ? `far sets of ${farSet} of ${legs} devices` : null;
}
