/** RAID6 calculates in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, with 2 as generator (H. Peter Anvin, "The mathematics of RAID-6"). */
const POLYNOMIAL = 0x11d;

const EXP = new Uint8Array(510);
const LOG = new Uint8Array(256);
for (let i = 0, value = 1; i < 255; i++) {
  EXP[i] = value;
  EXP[i + 255] = value;
  LOG[value] = i;
  value <<= 1;
  if (value > 0xff) value ^= POLYNOMIAL;
}

/** 2 to the `n`th. */
export function power(n: number): number {
  return EXP[n % 255]!;
}

export function inverse(a: number): number {
  if (a === 0) throw new RangeError("0 has no inverse");
  return EXP[255 - LOG[a]!]!;
}

function product(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : EXP[LOG[a]! + LOG[b]!]!;
}

/** `to ^= from`, byte for byte; both of the same length. */
export function xorInto(to: Uint8Array, from: Uint8Array): void {
  const words = wordsOf(to, from);
  if (words) {
    const [a, b] = words;
    for (let i = 0; i < a.length; i++) a[i] = a[i]! ^ b[i]!;
  }
  for (let i = words ? words[0].length * 4 : 0; i < to.length; i++) to[i] = to[i]! ^ from[i]!;
}

/** `to = to * 2`, byte for byte. */
export function double(to: Uint8Array): void {
  const words = wordsOf(to, to);
  if (words) {
    const [a] = words;
    for (let i = 0; i < a.length; i++) {
      const v = a[i]!;
      // Four bytes at once: shifted without carrying over, and reduced where the top bit was set.
      const high = (v >>> 7) & 0x01010101;
      a[i] = ((v << 1) & 0xfefefefe) ^ (high * (POLYNOMIAL & 0xff));
    }
  }
  for (let i = words ? words[0].length * 4 : 0; i < to.length; i++) to[i] = product(to[i]!, 2);
}

/** `to = to * factor`, byte for byte. */
export function multiply(to: Uint8Array, factor: number): void {
  const table = Uint8Array.from({ length: 256 }, (_, v) => product(v, factor));
  for (let i = 0; i < to.length; i++) to[i] = table[to[i]!]!;
}

function wordsOf(a: Uint8Array, b: Uint8Array): [Uint32Array, Uint32Array] | null {
  if (a.byteOffset % 4 !== 0 || b.byteOffset % 4 !== 0) return null;
  const count = Math.floor(a.length / 4);
  return [new Uint32Array(a.buffer, a.byteOffset, count), new Uint32Array(b.buffer, b.byteOffset, count)];
}

/** P: the sum of the columns. All of the same length, at least one. */
export function parityP(columns: readonly Uint8Array[]): Uint8Array {
  const out = Uint8Array.from(columns[0]!);
  for (const column of columns.slice(1)) xorInto(out, column);
  return out;
}

/** Q: the sum of each column times 2 to its exponent; exponents are distinct, at least one column. */
export function parityQ(columns: readonly Uint8Array[], exponents: readonly number[]): Uint8Array {
  const byExponent = new Map(exponents.map((e, i) => [e, columns[i]!]));
  const out = new Uint8Array(columns[0]!.length);
  for (let e = Math.max(...exponents); e >= 0; e--) {
    double(out);
    const column = byExponent.get(e);
    if (column) xorInto(out, column);
  }
  return out;
}

/** The one missing column from Q: `others` are the other data columns. */
export function recoverFromQ(
  q: Uint8Array,
  others: readonly Uint8Array[],
  exponents: readonly number[],
  missingExponent: number,
): Uint8Array {
  const out = Uint8Array.from(q);
  if (others.length > 0) xorInto(out, parityQ(others, exponents));
  multiply(out, inverse(power(missingExponent)));
  return out;
}

/** The two missing columns from P and Q, in the order of their exponents `x` and `y`. */
export function recoverTwo(
  p: Uint8Array,
  q: Uint8Array,
  others: readonly Uint8Array[],
  exponents: readonly number[],
  x: number,
  y: number,
): [Uint8Array, Uint8Array] {
  // With Pxy = Dx + Dy and Qxy = 2^x Dx + 2^y Dy:  Dx = (Qxy + 2^y Pxy) / (2^x + 2^y).
  const pxy = parityP([p, ...others]);
  const dx = Uint8Array.from(q);
  if (others.length > 0) xorInto(dx, parityQ(others, exponents));
  const scaled = Uint8Array.from(pxy);
  multiply(scaled, power(y));
  xorInto(dx, scaled);
  multiply(dx, inverse(power(x) ^ power(y)));
  xorInto(pxy, dx);
  return [dx, pxy];
}
