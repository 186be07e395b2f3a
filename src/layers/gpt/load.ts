import { crc32 } from "../../bytes/crc.ts";
import { withinLimit } from "../../core/numbers.ts";
import { decodeEntries, decodeHeader, type GptEntry, type GptHeader } from "./table.ts";

/** Reads at most `length` bytes at `offset`; fewer at the end of the disk. */
export type BlockReader = (offset: number, length: number) => Promise<Uint8Array>;

/** One copy of the table, or why it cannot be used. */
export type Copy =
  | { readonly usable: true; readonly lba: number; readonly header: GptHeader; readonly entries: readonly GptEntry[] }
  | { readonly usable: false; readonly lba: number; readonly signed: boolean; readonly reason: string };

export interface Tables {
  /** Bytes of a logical block. */
  readonly unit: number;
  readonly primary: Copy;
  readonly backup: Copy;
}

/**
 * Reads both copies for one block size. The backup is sought where the primary says, else in the last block; on a disk that was grown
 * it stands where the disk once ended. Throws `limit` when a verified header asks for more entries than `maxEntryBytes`.
 */
export async function loadTables(
  read: BlockReader,
  size: number,
  unit: number,
  maxEntryBytes: number,
): Promise<Tables> {
  const blocks = Math.floor(size / unit);
  const last = blocks - 1;
  const primary = await loadCopy(read, 1, blocks, unit, maxEntryBytes);
  const told = primary.usable ? primary.header.alternateLba : null;
  const inside = told !== null && told > 1n && told <= BigInt(last);
  let backup = await loadCopy(read, inside ? Number(told) : last, blocks, unit, maxEntryBytes);
  if (!backup.usable && backup.lba !== last) {
    const end = await loadCopy(read, last, blocks, unit, maxEntryBytes);
    if (end.usable) backup = end;
  }
  return { unit, primary, backup };
}

async function loadCopy(
  read: BlockReader,
  lba: number,
  blocks: number,
  unit: number,
  maxEntryBytes: number,
): Promise<Copy> {
  const bad = (signed: boolean, reason: string): Copy => ({ usable: false, lba, signed, reason });
  if (lba < 1 || lba >= blocks) return bad(false, "the disk is too small for it");
  const result = decodeHeader(await read(lba * unit, unit), lba);
  if (!result.header) return bad(result.signed, result.reason);
  const { header } = result;
  if (header.entriesLba < 1n || header.entriesLba >= BigInt(blocks))
    return bad(true, "its entries are not on the disk");
  const bytes = header.entryCount * header.entrySize;
  withinLimit(bytes, maxEntryBytes, "gptEntryBytes", "bytes of partition entries", "gpt", lba * unit);
  const array = await read(Number(header.entriesLba) * unit, bytes);
  if (array.length < bytes) return bad(true, "its entries reach beyond the end of the disk");
  if (crc32(array) !== header.entriesCrc) return bad(true, "the checksum of its entries is wrong");
  return { usable: true, lba, header, entries: decodeEntries(array, header) };
}

/** Block sizes to try: the device's own first. A 4Kn disk's image has 4096 behind a device that says 512, LUKS2 the other way round. */
export function candidateUnits(deviceSector: number): readonly number[] {
  return deviceSector === 4096 ? [4096, 512] : [512, 4096];
}
