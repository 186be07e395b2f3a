/** Bytes read at one place, below an encrypting layer and above it; null: that cannot be read, since no key opens it. */
export interface SamplePiece {
  readonly below: Uint8Array;
  readonly above: Uint8Array | null;
}

/**
 * random: what is stored cannot be told from random bytes, and is not what the layer shows. structured: it can be told.
 * same: it is what the layer shows. unopened: it cannot be told from random bytes; what the layer shows was not read. empty: nothing was ever written there, or the disk was told to forget it. few: too little for a verdict.
 */
export type SampleFinding = "random" | "structured" | "same" | "unopened" | "empty" | "few";

export interface SampleResult {
  readonly finding: SampleFinding;
  readonly pieces: number;
  /** Pieces in which nothing was ever written. */
  readonly emptyPieces: number;
  /** Bytes of written sectors. */
  readonly bytes: number;
  /** Pearson's chi-square of their values, 255 degrees of freedom; null: too few. */
  readonly chiSquare: number | null;
  /** Share of places with the same byte below and above; 1/256 by chance; null: nothing was read above. */
  readonly equalShare: number | null;
}

/** The least that dm-crypt writes. */
const SECTOR = 512;
/** For each of 256 values some hundred are expected then. */
const ENOUGH = 64 * 1024;
const DEGREES = 255;
/** Standard deviations: random bytes are beyond them once in some million runs. */
const SIGMAS = 5;

/** Judges pieces of one device. */
export function judgeSample(pieces: readonly SamplePiece[]): SampleResult {
  const counts = new Float64Array(256);
  let bytes = 0;
  let equal = 0;
  let emptyPieces = 0;
  let same = false;
  let opened = true;
  for (const { below, above } of pieces) {
    let written = false;
    if (above === null) opened = false;
    for (let at = 0; at < below.length; at += SECTOR) {
      const end = Math.min(at + SECTOR, below.length);
      // What was never written lies beside what was.
      if (isBlank(below, at, end)) continue;
      written = true;
      let alike = 0;
      for (let i = at; i < end; i++) {
        const b = below[i]!;
        counts[b] = counts[b]! + 1;
        if (above !== null && b === above[i]) alike++;
      }
      bytes += end - at;
      equal += alike;
      if (alike === end - at) same = true;
    }
    if (!written) emptyPieces++;
  }
  const chiSquare = bytes < ENOUGH ? null : chi(counts, bytes);
  const equalShare = opened ? (bytes === 0 ? 0 : equal / bytes) : null;
  const base = { pieces: pieces.length, emptyPieces, bytes, chiSquare, equalShare };
  if (same) return { ...base, finding: "same" };
  if (bytes === 0) return { ...base, finding: "empty" };
  if (chiSquare === null) return { ...base, finding: "few" };
  // Mean 255, variance 510. Too even is no chance either.
  const off = Math.abs(chiSquare - DEGREES) / Math.sqrt(2 * DEGREES);
  if (off > SIGMAS) return { ...base, finding: "structured" };
  return { ...base, finding: opened ? "random" : "unopened" };
}

/** One byte all over: zeros of a disk that was never written, or the ones of erased flash. */
function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  const first = bytes[from];
  if (first !== 0 && first !== 0xff) return false;
  for (let i = from + 1; i < to; i++) if (bytes[i] !== first) return false;
  return true;
}

function chi(counts: Float64Array, total: number): number {
  const expected = total / 256;
  return counts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
}
