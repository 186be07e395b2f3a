import type { ParityAlgorithm } from "./geometry.ts";

/** Which leg holds what in one row of chunks. */
export interface ParityRow {
  /** Role of the leg of data chunk 0, 1, … of the row. */
  readonly data: readonly number[];
  readonly p: number;
  /** Null: no second parity. */
  readonly q: number | null;
  /** For each data chunk the power of 2 with which it stands in Q. */
  readonly exponents: readonly number[];
}

/** The rows of a RAID4, 5 or 6, from row 0; row n is element n modulo their number (raid5_compute_sector in drivers/md/raid5.c). */
export function parityRows(level: 4 | 5 | 6, algorithm: ParityAlgorithm, legs: number): ParityRow[] {
  const withOwnQ = algorithm >= 16;
  const period = withOwnQ ? legs - 1 : legs;
  return Array.from({ length: period }, (_, row) => {
    if (level === 6 && !withOwnQ) return raid6Row(algorithm, legs, row);
    if (level === 6)
      return withExponents(raid5Row((algorithm - 16) as ParityAlgorithm, legs - 1, row), legs, legs - 1, false);
    return raid5Row(level === 4 ? 5 : algorithm, legs, row);
  });
}

function raid5Row(algorithm: ParityAlgorithm, legs: number, row: number): ParityRow {
  const last = legs - 1;
  const p = [last - row, row, last - row, row, 0, last][algorithm]!;
  const symmetric = algorithm === 2 || algorithm === 3;
  const data = Array.from({ length: last }, (_, i) => (symmetric ? (p + 1 + i) % legs : i >= p ? i + 1 : i));
  return { data, p, q: null, exponents: [] };
}

function raid6Row(algorithm: ParityAlgorithm, legs: number, row: number): ParityRow {
  const last = legs - 1;
  const count = legs - 2;
  /** DDF counts all legs in Q's exponents, md only those with data, from the one behind Q on. */
  const ddf = algorithm >= 8;
  const p = parityLeg(algorithm, last, row);
  const q = algorithm === 10 ? (p + last) % legs : (p + 1) % legs;
  const data = Array.from({ length: count }, (_, i) => {
    if (algorithm === 2 || algorithm === 3) return (p + 2 + i) % legs;
    if (algorithm === 10) return (p + 1 + i) % legs;
    if (algorithm === 4) return i + 2;
    if (algorithm === 5) return i;
    // P and Q lie side by side, or Q is on the first leg and P on the last.
    if (p === last) return i + 1;
    return i >= p ? i + 2 : i;
  });
  return withExponents({ data, p, q: null, exponents: [] }, legs, q, ddf);
}

function parityLeg(algorithm: ParityAlgorithm, last: number, row: number): number {
  switch (algorithm) {
    case 0:
    case 2:
    case 10:
      return last - row;
    case 1:
    case 3:
    case 8:
      return row;
    case 9:
      return last - ((row + 1) % (last + 1));
    case 4:
      return 0;
    default:
      return last - 1;
  }
}

/** raid6_d0 and raid6_idx_to_slot in drivers/md/raid5.c. */
function withExponents(row: ParityRow, legs: number, q: number, ddf: boolean): ParityRow {
  const exponentOf = new Map<number, number>();
  const start = ddf ? 0 : (q + 1) % legs;
  let exponent = 0;
  for (let i = 0; i < legs; i++) {
    const leg = (start + i) % legs;
    const holdsData = leg !== row.p && leg !== q;
    if (holdsData) exponentOf.set(leg, exponent);
    if (holdsData || ddf) exponent++;
  }
  return { ...row, q, exponents: row.data.map((leg) => exponentOf.get(leg)!) };
}
