import type { Random } from "./random.ts";
import { cloneInput, type Input, type Sparse } from "./sparse.ts";

/** Ranges of each part that the code under test read: [offset, length]. */
export type Hot = readonly (readonly [number, number][])[];

const EDGES = [0n, 1n, 2n, 3n, 7n, 8n, 0x7fn, 0x80n, 0xffn, 0x100n, 0x1ffn, 0x200n, 0xfffn, 0x1000n, 0x7fffn, 0x8000n];
const LARGE = [
  0xffffn,
  0x10000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  (1n << 53n) - 1n,
  1n << 53n,
];
const HUGE = [(1n << 56n) - 512n, 1n << 62n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 512n, (1n << 64n) - 1n];
const INTERESTING = [...EDGES, ...LARGE, ...HUGE];
const WIDTHS = [1, 2, 4, 8];
/** Where nothing is known to be read, the first KiB count. */
const HEAD = 4096;
const MAX_EDITS = 6;

/** Changes an input in one to a few places, mostly in bytes that were read before. `other`: an input to take pieces from. */
export function mutate(input: Input, hot: Hot, other: Input, tokens: readonly Uint8Array[], random: Random): Sparse[] {
  const out = cloneInput(input);
  const edits = 1 + (random.chance(0.5) ? 0 : random.below(MAX_EDITS));
  for (let i = 0; i < edits; i++) {
    const at = random.below(out.length);
    edit(out[at]!, hot[at] ?? [], other, tokens, random);
  }
  return out;
}

function edit(
  part: Sparse,
  hot: readonly (readonly [number, number])[],
  other: Input,
  tokens: readonly Uint8Array[],
  random: Random,
): void {
  const at = place(part, hot, random);
  const kind = random.below(12);
  if (kind < 2) part.write(at, Uint8Array.of(part.read(at, 1)[0]! ^ (1 << random.below(8))));
  else if (kind < 5) number(part, at, random);
  else if (kind === 5) part.write(at, Uint8Array.of(random.below(256)));
  else if (kind === 6) copy(part, place(part, hot, random), part, at, random);
  else if (kind === 7) splice(part, at, random.pick(other), random);
  else if (kind === 8) part.write(at, new Uint8Array(1 + random.below(64)).fill(random.chance(0.5) ? 0 : 0xff));
  else if (kind === 9) digits(part, at, random);
  else if (kind === 10 && tokens.length > 0) part.write(at, random.pick(tokens));
  else if (random.chance(0.2)) part.resize(newSize(part, at, random));
  else number(part, at - (at % 4), random);
}

function splice(part: Sparse, at: number, from: Sparse, random: Random): void {
  copy(from, random.chance(0.5) ? at : place(from, [], random), part, at, random);
}

/** A place in the bytes that were read. Long reads are mostly data: their first bytes are as likely as all the rest. */
function place(part: Sparse, hot: readonly (readonly [number, number])[], random: Random): number {
  const last = Math.max(part.size - 1, 0);
  if (hot.length > 0 && random.chance(0.95)) {
    const [offset, length] = random.pick(hot);
    const within = random.chance(0.5) ? random.below(Math.min(length, 512)) : random.below(length);
    return Math.min(offset + within, last);
  }
  const pages = part.pages();
  if (pages.length === 0) return random.below(Math.min(part.size, HEAD));
  return Math.min(random.pick(pages) * 4096 + random.below(4096), last);
}

/** An integer of some width and byte order: a known edge, or a small step from what is there. */
function number(part: Sparse, at: number, random: Random): void {
  const width = random.pick(WIDTHS);
  const start = random.chance(0.7) ? at - (at % width) : at;
  const big = random.chance(0.5);
  const bytes = Buffer.from(part.read(start, width));
  if (big) bytes.reverse();
  let value = 0n;
  for (let i = width - 1; i >= 0; i--) value = value * 256n + BigInt(bytes[i]!);
  const mask = (1n << BigInt(8 * width)) - 1n;
  const sizes = [BigInt(part.size), BigInt(part.size) / 512n, BigInt(part.size) - 512n];
  switch (random.below(4)) {
    case 0:
      value += BigInt(random.below(33)) - 16n;
      break;
    case 1:
      value = random.pick(sizes) + BigInt(random.below(3)) - 1n;
      break;
    case 2:
      value = random.chance(0.5) ? value * 2n : value / 2n;
      break;
    default:
      value = random.pick(INTERESTING);
  }
  value &= mask;
  for (let i = 0; i < width; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 0xffn);
  if (big) bytes.reverse();
  part.write(start, bytes);
}

/** In text (LVM, JSON, descriptors): the digits of the number at or behind `at` become others. */
function digits(part: Sparse, at: number, random: Random): void {
  const bytes = part.read(at, 64);
  const from = bytes.findIndex((b) => b >= 0x30 && b <= 0x39);
  if (from < 0) return;
  let to = from;
  while (to < 64 && bytes[to]! >= 0x30 && bytes[to]! <= 0x39) to++;
  const width = to - from;
  const text = random.chance(0.5) ? String(random.pick(INTERESTING)) : String(random.below(10 ** Math.min(width, 9)));
  part.write(at + from, Buffer.from(text.slice(0, width).padStart(width, "0")));
}

function copy(from: Sparse, source: number, to: Sparse, at: number, random: Random): void {
  const length = random.chance(0.5) ? 1 + random.below(16) : 2 ** random.below(13);
  to.write(at, from.read(source, length));
}

function newSize(part: Sparse, at: number, random: Random): number {
  const grown = Math.min(part.size * 2 + random.below(4096), 2 ** 52);
  return random.chance(0.7) ? at : grown;
}
