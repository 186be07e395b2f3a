import { isPowerOfTwo } from "../../bytes/integers.ts";
import { struct, view } from "../../bytes/struct.ts";
import { guidText } from "../../bytes/uuid.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { safeNumber } from "../../core/numbers.ts";
import { corrupt, unsupported } from "./errors.ts";
import { MIB } from "./header.ts";
import type { Region } from "./regions.ts";

const TABLE_BYTES = 64 * 1024;
const MOST_ENTRIES = 2047;
/** An entry with its reserved bytes. */
const ENTRY_BYTES = 32;
const REQUIRED = 4;
const LARGEST_DISK = 64 * 2 ** 40;
const LEAVE_ALLOCATED = 1;
const HAS_PARENT = 2;

/** MS-VHDX 2.6.1. */
const TABLE = struct("VHDX metadata table", "little", {
  signature: { at: 0, type: "ascii", length: 8 },
  entries: { at: 10, type: "u16" },
});
const ENTRY = struct("VHDX metadata table entry", "little", {
  item: { at: 0, type: "bytes", length: 16 },
  offset: { at: 16, type: "u32", ref: "from the region's start" },
  length: { at: 20, type: "u32" },
  flags: { at: 24, type: "u32" },
});

/** MS-VHDX 2.6.2: the items that are known, with the bytes that each has at least. */
const ITEMS: Readonly<Record<string, readonly [name: keyof Found, length: number]>> = {
  "caa16737-fa36-4d43-b3b6-33f0aa44e76b": ["fileParameters", 8],
  "2fa54224-cd1b-4876-b211-5dbed83bf4b8": ["virtualDiskSize", 8],
  "beca12ab-b2e6-4523-93ef-c309e000c746": ["virtualDiskId", 16],
  "8141bf1d-a96f-4709-ba47-f233a8faab5f": ["logicalSectorSize", 4],
  "cda348c7-445d-4471-9cc9-e9885251c556": ["physicalSectorSize", 4],
  "a8d35f2d-b30b-454d-abf7-d3d84834ab0c": ["parentLocator", 0],
};

interface Found {
  fileParameters?: Uint8Array;
  virtualDiskSize?: Uint8Array;
  virtualDiskId?: Uint8Array;
  logicalSectorSize?: Uint8Array;
  physicalSectorSize?: Uint8Array;
  parentLocator?: Uint8Array;
}

/** Sizes in bytes. */
export interface Metadata {
  readonly size: number;
  readonly blockSize: number;
  readonly logicalSectorSize: number;
  readonly physicalSectorSize: number | null;
  readonly diskId: string | null;
  /** All blocks are allocated and stay so. */
  readonly fixed: boolean;
  readonly hasParent: boolean;
}

/** Reads what the image says about its disk. The items have no checksums: each is judged by itself. */
export async function readMetadata(file: BlockDevice, region: Region): Promise<Metadata> {
  const found = await readItems(file, region);
  const at = region.offset;
  const { fileParameters, virtualDiskSize, virtualDiskId, logicalSectorSize, physicalSectorSize } = found;
  if (!fileParameters || !virtualDiskSize || !logicalSectorSize)
    throw corrupt("the metadata lacks the size of the disk, of its blocks or of its sectors", at);
  const blockSize = view(fileParameters).getUint32(0, true);
  const flags = view(fileParameters).getUint32(4, true);
  const size = safeNumber(view(virtualDiskSize).getBigUint64(0, true), "the size of the disk", "vhdx", at);
  const sector = view(logicalSectorSize).getUint32(0, true);
  if (!isPowerOfTwo(blockSize) || blockSize < MIB || blockSize > 256 * MIB)
    throw corrupt(`blocks of ${blockSize} bytes`, at);
  if (sector !== 512 && sector !== 4096) throw corrupt(`sectors of ${sector} bytes`, at);
  if (size > LARGEST_DISK || size % sector !== 0) throw corrupt(`a disk of ${size} bytes`, at);
  return {
    size,
    blockSize,
    logicalSectorSize: sector,
    physicalSectorSize: physicalSectorSize ? view(physicalSectorSize).getUint32(0, true) : null,
    diskId: virtualDiskId ? guidText(virtualDiskId) : null,
    fixed: (flags & LEAVE_ALLOCATED) !== 0,
    hasParent: (flags & HAS_PARENT) !== 0,
  };
}

async function readItems(file: BlockDevice, region: Region): Promise<Found> {
  const table = await readBytes(file, region.offset, TABLE_BYTES);
  const { signature, entries } = TABLE.decode(table);
  if (signature !== "metadata" || entries > MOST_ENTRIES) throw corrupt("the metadata table is damaged", region.offset);
  const found: Found = {};
  for (let i = 0; i < entries; i++) {
    const place = (i + 1) * ENTRY_BYTES;
    const e = ENTRY.decode(table, place);
    const id = guidText(e.item);
    const at = region.offset + place;
    const known = Object.hasOwn(ITEMS, id) ? ITEMS[id] : undefined;
    if (!known) {
      if ((e.flags & REQUIRED) !== 0) throw unsupported(`VHDX metadata item ${id}`, at);
      continue;
    }
    const [name, least] = known;
    if (e.offset < TABLE_BYTES || e.length < least || e.length > MIB || e.offset + e.length > region.length)
      throw corrupt(`a metadata item of ${e.length} bytes at ${e.offset}`, at);
    if (found[name]) throw corrupt("the metadata has an item twice", at);
    found[name] = await readBytes(file, region.offset + e.offset, Math.min(e.length, 64));
  }
  return found;
}
