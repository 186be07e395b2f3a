import { struct } from "../../bytes/struct.ts";
import { guidText } from "../../bytes/uuid.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import type { Finding } from "../../core/finding.ts";
import { safeNumber } from "../../core/numbers.ts";
import { checksumHolds } from "./checksum.ts";
import { corrupt, unsupported } from "./errors.ts";
import { HEADER_SECTION, MIB } from "./header.ts";

const TABLES_AT = [192 * 1024, 256 * 1024] as const;
const TABLE_BYTES = 64 * 1024;
const MOST_ENTRIES = 2047;
/** An entry with its reserved bytes. */
const ENTRY_BYTES = 32;
const REQUIRED = 1;
const BAT = "2dc27766-f623-4200-9d64-115e9bfd4a08";
const METADATA = "8b7ca206-4790-4b9a-b8fe-575f050f886e";

/** MS-VHDX 2.2.3.1 and 2.2.3.2. */
const TABLE = struct("VHDX region table", "little", {
  signature: { at: 0, type: "ascii", length: 4 },
  entries: { at: 8, type: "u32" },
});
const ENTRY = struct("VHDX region table entry", "little", {
  guid: { at: 0, type: "bytes", length: 16 },
  offset: { at: 16, type: "u64" },
  length: { at: 24, type: "u32" },
  flags: { at: 28, type: "u32" },
});

/** Bytes in the file. */
export interface Region {
  readonly offset: number;
  readonly length: number;
}

export interface Regions {
  readonly bat: Region;
  readonly metadata: Region;
}

/** Reads the region table, or its copy when it is damaged. */
export async function readRegions(file: BlockDevice): Promise<{ regions: Regions; findings: Finding[] }> {
  const findings: Finding[] = [];
  for (const at of TABLES_AT) {
    const bytes = await readBytes(file, at, TABLE_BYTES);
    const { signature, entries } = TABLE.decode(bytes);
    if (signature === "regi" && entries <= MOST_ENTRIES && checksumHolds(bytes))
      return { regions: parse(bytes, entries, at, file.size), findings };
    findings.push({
      severity: "warning",
      code: "vhdx-region-table",
      message: "the region table is damaged; its copy is used",
      layer: "vhdx",
      offset: at,
    });
  }
  throw corrupt("the region table and its copy are damaged", TABLES_AT[0]);
}

function parse(bytes: Uint8Array, entries: number, at: number, fileSize: number): Regions {
  const found = new Map<string, Region>();
  for (let i = 0; i < entries; i++) {
    const place = 16 + i * ENTRY_BYTES;
    const e = ENTRY.decode(bytes, place);
    const guid = guidText(e.guid);
    if (guid !== BAT && guid !== METADATA) {
      if ((e.flags & REQUIRED) !== 0) throw unsupported(`VHDX region ${guid}`, at + place);
      continue;
    }
    const offset = safeNumber(e.offset, "a region's place", "vhdx", at + place);
    const sound = offset >= HEADER_SECTION && offset % MIB === 0 && e.length % MIB === 0 && e.length > 0;
    if (!sound || offset + e.length > fileSize)
      throw corrupt(`a region of ${e.length} bytes at ${offset}, in a file of ${fileSize}`, at + place);
    if (found.has(guid)) throw corrupt("the region table has an entry twice", at + place);
    found.set(guid, { offset, length: e.length });
  }
  const bat = found.get(BAT);
  const metadata = found.get(METADATA);
  if (!bat || !metadata) throw corrupt("the region table lacks the block allocation table or the metadata", at);
  if (overlaps(bat, metadata)) throw corrupt("two regions overlap", at);
  return { bat, metadata };
}

export function overlaps(a: Region, b: Region): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
