import { crc32cRaw } from "../../src/bytes/crc.ts";

const SECTOR = 4096;

/** A data descriptor's 4 KiB or a zero descriptor's run. */
export type Change =
  | { readonly at: number; readonly bytes: Uint8Array }
  | { readonly at: number; readonly zeros: number };

export interface EntryShape {
  readonly guid: Uint8Array;
  readonly sequence: bigint;
  /** Offset in the log of the sequence's first entry. */
  readonly tail: number;
  readonly fileSize: number;
  readonly changes: readonly Change[];
}

/** Puts the checksum of a VHDX structure in its place (bytes 4 to 7). */
export function seal(structure: Buffer): void {
  structure.writeUInt32LE(0, 4);
  structure.writeUInt32LE(~crc32cRaw(structure, 0xffffffff) >>> 0, 4);
}

/** One log entry as MS-VHDX 2.3.1 lays it out. */
export function logEntry(shape: EntryShape): Buffer {
  const { guid, sequence, tail, fileSize, changes } = shape;
  const area = Math.ceil((64 + 32 * changes.length) / SECTOR) * SECTOR;
  const data = changes.filter((c) => "bytes" in c).length;
  const entry = Buffer.alloc(area + data * SECTOR);
  entry.write("loge", 0, "latin1");
  entry.writeUInt32LE(entry.length, 8);
  entry.writeUInt32LE(tail, 12);
  entry.writeBigUInt64LE(sequence, 16);
  entry.writeUInt32LE(changes.length, 24);
  entry.set(guid, 32);
  entry.writeBigUInt64LE(BigInt(fileSize), 48);
  entry.writeBigUInt64LE(BigInt(fileSize), 56);
  let sector = area;
  for (const [i, change] of changes.entries()) {
    const at = 64 + 32 * i;
    entry.writeBigUInt64LE(BigInt(change.at), at + 16);
    entry.writeBigUInt64LE(sequence, at + 24);
    if ("zeros" in change) {
      entry.write("zero", at, "latin1");
      entry.writeBigUInt64LE(BigInt(change.zeros), at + 8);
      continue;
    }
    entry.write("desc", at, "latin1");
    entry.set(change.bytes.subarray(SECTOR - 4, SECTOR), at + 4);
    entry.set(change.bytes.subarray(0, 8), at + 8);
    entry.set(change.bytes.subarray(8, SECTOR - 4), sector + 8);
    entry.write("data", sector, "latin1");
    entry.writeUInt32LE(Number(sequence >> 32n), sector + 4);
    entry.writeUInt32LE(Number(sequence & 0xffffffffn), sector + SECTOR - 4);
    sector += SECTOR;
  }
  seal(entry);
  return entry;
}

/** Writes an entry into the ring at `at` of the log that lies at `logAt` of the image. */
export function putEntry(image: Buffer, logAt: number, logLength: number, at: number, entry: Buffer): void {
  for (let i = 0; i < entry.length; i += SECTOR)
    image.set(entry.subarray(i, i + SECTOR), logAt + ((at + i) % logLength));
}

/** Both headers then say that the log with this id is to be replayed. */
export function markLog(image: Buffer, guid: Uint8Array): void {
  for (const at of [64 * 1024, 128 * 1024]) {
    const header = image.subarray(at, at + SECTOR);
    header.set(guid, 48);
    seal(header);
  }
}
