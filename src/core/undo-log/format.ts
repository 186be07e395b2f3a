import { crc32 } from "../../bytes/crc.ts";
import { alignDown } from "../../bytes/integers.ts";
import { type Decoded, struct } from "../../bytes/struct.ts";

/**
 * The undo log of one source of one run; docs/undo-log.md is the specification. All integers are little-endian.
 * A header of 512 bytes, then records: 128 bytes each, DATA records followed by the old bytes and a checksum table.
 */
export const LOG_MAGIC = "UNTERBAU";
export const LOG_VERSION = 1;
export const HEADER_SIZE = 512;
export const RECORD_SIZE = 128;
/** Source bytes of one DATA record: bounds what a reader must hold, and splits long ranges. */
export const MAX_RECORD = 1024 * 1024;
/** Source bytes (aligned to it) for which a DATA record keeps one checksum of the new content: what a kernel writes as a whole. */
export const PIECE = 4096;
/** Room kept behind SEALED for the records that must not fail later (APPLIED or ROLLED_BACK). */
export const RESERVE = 2 * RECORD_SIZE;

export const LogHeader = struct("undo log header", "little", {
  magic: { at: 0, type: "ascii", length: 8 },
  version: { at: 8, type: "u32" },
  headerSize: { at: 12, type: "u32" },
  tag: { at: 16, type: "bytes", length: 8 },
  sourceKind: { at: 24, type: "u32" },
  sourceIndex: { at: 28, type: "u32" },
  dev: { at: 32, type: "u64" },
  ino: { at: 40, type: "u64" },
  size: { at: 48, type: "u64" },
  run: { at: 56, type: "ascii", length: 40 },
  crc: { at: HEADER_SIZE - 4, type: "u32" },
});

const prefix = {
  tag: { at: 0, type: "bytes", length: 8 },
  type: { at: 8, type: "u32" },
  batch: { at: 12, type: "u32" },
} as const;
const suffix = { crc: { at: RECORD_SIZE - 4, type: "u32" } } as const;

export const RecordPrefix = struct("undo log record", "little", { ...prefix, ...suffix });

export const BeginRecord = struct("BEGIN record", "little", {
  ...prefix,
  oldSize: { at: 24, type: "u64" },
  newSize: { at: 32, type: "u64" },
  oldMtimeNs: { at: 40, type: "u64" },
  ...suffix,
});

export const DataRecord = struct("DATA record", "little", {
  ...prefix,
  flags: { at: 16, type: "u32" },
  tableCrc: { at: 20, type: "u32" },
  offset: { at: 24, type: "u64" },
  length: { at: 32, type: "u32" },
  stored: { at: 36, type: "u32" },
  oldHash: { at: 48, type: "bytes", length: 32 },
  newHash: { at: 80, type: "bytes", length: 32 },
  ...suffix,
});

export const SealRecord = struct("SEALED record", "little", {
  ...prefix,
  records: { at: 24, type: "u64" },
  ...suffix,
});

/** APPLIED and ROLLED_BACK: what the source looked like right after. */
export const EndRecord = struct("APPLIED record", "little", {
  ...prefix,
  size: { at: 24, type: "u64" },
  mtimeNs: { at: 32, type: "u64" },
  ...suffix,
});

export const RECORD_TYPE = { begin: 1, data: 2, sealed: 3, applied: 4, rolledBack: 5 } as const;

/** The old bytes were all zero: none are stored. */
export const FLAG_ZERO = 1;
/** The range lies beyond the source's old end: there are no old bytes, the source is cut back to its old size. */
export const FLAG_BEYOND = 2;
/** The range is cut off by the batch: there are no new bytes and no checksum table. */
export const FLAG_CUT = 4;
export const KNOWN_FLAGS = FLAG_ZERO + FLAG_BEYOND + FLAG_CUT;

export type LogIdentity = Pick<
  Decoded<typeof LogHeader.fields>,
  "sourceKind" | "sourceIndex" | "dev" | "ino" | "size" | "run"
>;

/** Fills in the checksum over all bytes before it. */
export function sealChecksum(record: Uint8Array): void {
  const at = record.length - 4;
  new DataView(record.buffer, record.byteOffset).setUint32(at, crc32(record.subarray(0, at)), true);
}

export function checksumHolds(record: Uint8Array): boolean {
  const at = record.length - 4;
  return new DataView(record.buffer, record.byteOffset).getUint32(at, true) === crc32(record.subarray(0, at));
}

/** The pieces of a range: cut at multiples of PIECE of the source, so the first and last may be shorter. */
export function* piecesOf(offset: number, length: number): IterableIterator<{ offset: number; length: number }> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const to = Math.min(end, alignDown(at, PIECE) + PIECE);
    yield { offset: at, length: to - at };
    at = to;
  }
}

export function pieceCount(offset: number, length: number): number {
  return length === 0 ? 0 : (alignDown(offset + length - 1, PIECE) - alignDown(offset, PIECE)) / PIECE + 1;
}

/** CRC-32 of every piece of `bytes`, which lie at `offset` of the source, as a little-endian u32 array. */
export function pieceTable(bytes: Uint8Array, offset: number): Uint8Array {
  const out = new Uint8Array(4 * pieceCount(offset, bytes.length));
  const view = new DataView(out.buffer);
  let i = 0;
  for (const p of piecesOf(offset, bytes.length)) {
    view.setUint32(4 * i++, crc32(bytes.subarray(p.offset - offset, p.offset - offset + p.length)), true);
  }
  return out;
}
