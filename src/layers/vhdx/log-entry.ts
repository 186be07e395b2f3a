import { struct } from "../../bytes/struct.ts";
import { checksumHolds } from "./checksum.ts";

export const LOG_SECTOR = 4096;

/** MS-VHDX 2.3.1.1, "Entry Header". */
const ENTRY = struct("VHDX log entry", "little", {
  signature: { at: 0, type: "ascii", length: 4 },
  entryLength: { at: 8, type: "u32" },
  tail: { at: 12, type: "u32" },
  sequence: { at: 16, type: "u64" },
  descriptors: { at: 24, type: "u32" },
  guid: { at: 32, type: "bytes", length: 16 },
  flushedFileOffset: { at: 48, type: "u64" },
  lastFileOffset: { at: 56, type: "u64" },
});

/** MS-VHDX 2.3.1.2 and 2.3.1.3: zero and data descriptors have one layout. */
const DESCRIPTOR = struct("VHDX log descriptor", "little", {
  signature: { at: 0, type: "ascii", length: 4 },
  trailing: { at: 4, type: "bytes", length: 4, ref: "data: the sector's last 4 bytes" },
  leading: { at: 8, type: "bytes", length: 8, ref: "data: the sector's first 8 bytes" },
  zeroLength: { at: 8, type: "u64", ref: "zero: bytes" },
  fileOffset: { at: 16, type: "u64" },
  sequence: { at: 24, type: "u64" },
});

/** MS-VHDX 2.3.1.4: 8 bytes of its own before and 4 behind what is logged. */
const DATA = struct("VHDX log data sector", "little", {
  signature: { at: 0, type: "ascii", length: 4 },
  sequenceHigh: { at: 4, type: "u32" },
  sequenceLow: { at: 4092, type: "u32" },
});

/** What one descriptor changes; `bytes` null: zeros. */
export interface LoggedChange {
  readonly offset: bigint;
  readonly length: bigint;
  readonly bytes: Uint8Array | null;
}

/** A log entry that was proven whole. Offsets are in the log, in bytes. */
export interface LogEntry {
  readonly at: number;
  readonly length: number;
  readonly sequence: bigint;
  readonly tail: number;
  readonly flushedFileOffset: bigint;
  readonly lastFileOffset: bigint;
  readonly changes: readonly LoggedChange[];
}

/** Bytes of the entry that seems to begin at `at` of the log, or null. Costs no checksum. */
export function entryLength(log: Uint8Array, at: number, guid: Uint8Array): number | null {
  const h = ENTRY.decode(log, at);
  if (h.signature !== "loge" || Buffer.compare(h.guid, guid) !== 0 || h.sequence === 0n) return null;
  if (h.entryLength === 0 || h.entryLength % LOG_SECTOR !== 0 || h.entryLength > log.length) return null;
  if (h.tail % LOG_SECTOR !== 0 || h.tail >= log.length) return null;
  return h.entryLength;
}

/** The entry at `at`, which may go on at the log's start, or null when any part of it is not valid (MS-VHDX 2.3.2, "Log Entry Validation"). */
export function parseEntry(log: Uint8Array, at: number, length: number): LogEntry | null {
  const bytes = ring(log, at, length);
  if (!checksumHolds(bytes)) return null;
  const h = ENTRY.decode(bytes);
  const area = Math.ceil((ENTRY.size + h.descriptors * DESCRIPTOR.size) / LOG_SECTOR) * LOG_SECTOR;
  if (area > length) return null;
  const changes: LoggedChange[] = [];
  let data = area;
  for (let i = 0; i < h.descriptors; i++) {
    const d = DESCRIPTOR.decode(bytes, ENTRY.size + i * DESCRIPTOR.size);
    if (d.sequence !== h.sequence || d.fileOffset % BigInt(LOG_SECTOR) !== 0n) return null;
    if (d.signature === "zero") {
      if (d.zeroLength % BigInt(LOG_SECTOR) !== 0n) return null;
      changes.push({ offset: d.fileOffset, length: d.zeroLength, bytes: null });
    } else if (d.signature === "desc") {
      if (data + LOG_SECTOR > length) return null;
      const s = DATA.decode(bytes, data);
      if (s.signature !== "data" || (BigInt(s.sequenceHigh) << 32n) + BigInt(s.sequenceLow) !== h.sequence) return null;
      const sector = bytes.slice(data, data + LOG_SECTOR);
      sector.set(d.leading, 0);
      sector.set(d.trailing, LOG_SECTOR - 4);
      changes.push({ offset: d.fileOffset, length: BigInt(LOG_SECTOR), bytes: sector });
      data += LOG_SECTOR;
    } else return null;
  }
  const { sequence, tail, flushedFileOffset, lastFileOffset } = h;
  return { at, length, sequence, tail, flushedFileOffset, lastFileOffset, changes };
}

function ring(log: Uint8Array, at: number, length: number): Uint8Array {
  if (at + length <= log.length) return log.subarray(at, at + length);
  return Buffer.concat([log.subarray(at), log.subarray(0, at + length - log.length)]);
}
