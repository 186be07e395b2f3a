import { isPowerOfTwo } from "../../bytes/integers.ts";
import { type Decoded, struct } from "../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { safeNumber, withinLimit } from "../../core/numbers.ts";

export const SECTOR = 512;
/** Largest grain that is believed, in sectors (1 GiB), as in QEMU. */
const LARGEST_GRAIN = 0x200000;
const REDUNDANT_DIRECTORY = 1 << 1;
const ZERO_GRAINS = 1 << 2;
const MARKERS = 1 << 17;
const NEWLINES = 1 << 0;
const DEFLATE = 1;
/** `gdOffset` of an image that was written as a stream: the footer has it. */
const AT_END = 0xffff_ffff_ffff_ffffn;
const FOOTER_MARKER = 3;

/** First four bytes of a hosted sparse extent. */
export const KDMV = 0x564d444b;

/** VMware Virtual Disk Format 5.0, "Hosted Sparse Extent Header". */
const HEADER = struct("VMDK sparse extent header", "little", {
  magic: { at: 0, type: "u32" },
  version: { at: 4, type: "u32" },
  flags: { at: 8, type: "u32" },
  capacity: { at: 12, type: "u64", ref: "sectors" },
  grainSize: { at: 20, type: "u64", ref: "sectors" },
  descriptorOffset: { at: 28, type: "u64", ref: "sectors" },
  descriptorSize: { at: 36, type: "u64", ref: "sectors" },
  entriesPerTable: { at: 44, type: "u32", ref: "numGTEsPerGT" },
  redundantOffset: { at: 48, type: "u64", ref: "rgdOffset, sectors" },
  directoryOffset: { at: 56, type: "u64", ref: "gdOffset, sectors" },
  overhead: { at: 64, type: "u64", ref: "sectors" },
  unclean: { at: 72, type: "u8", ref: "uncleanShutdown" },
  newlines: { at: 73, type: "bytes", length: 4 },
  compression: { at: 77, type: "u16", ref: "compressAlgorithm" },
});

/** A marker before the metadata of a streamed extent ("Stream-Optimized Compressed Sparse Extents"). */
const MARKER = struct("VMDK marker", "little", {
  value: { at: 0, type: "u64" },
  size: { at: 8, type: "u32" },
  type: { at: 12, type: "u32" },
});

/** A sound header. Sizes and offsets in bytes. */
export interface SparseHeader {
  readonly version: number;
  readonly capacity: number;
  readonly grainSize: number;
  readonly entriesPerTable: number;
  /** Grain directories: the primary one first. */
  readonly directories: readonly number[];
  readonly directoryEntries: number;
  readonly descriptor: { readonly offset: number; readonly length: number } | null;
  readonly zeroGrains: boolean;
  readonly compressed: boolean;
  readonly unclean: boolean;
}

/** Reads the header of a hosted sparse extent, or its footer where that has the truth. */
export async function readSparseHeader(file: BlockDevice, limits: Limits): Promise<SparseHeader> {
  if (file.size < SECTOR) throw corrupt("the file ends inside the header", file.size);
  const first = HEADER.decode(await readBytes(file, 0, SECTOR));
  if (first.magic !== KDMV) throw corrupt("no sparse extent header", 0);
  const { header, at } = first.directoryOffset === AT_END ? await readFooter(file) : { header: first, at: 0 };
  refuse(header);
  return validate(header, first, at, file.size, limits);
}

/** The last three sectors: a marker, the header again, and the end-of-stream marker. */
async function readFooter(file: BlockDevice): Promise<{ header: Decoded<typeof HEADER.fields>; at: number }> {
  const at = file.size - 2 * SECTOR;
  if (file.size % SECTOR !== 0 || at < 2 * SECTOR)
    throw corrupt("a streamed image without a footer: it is truncated", file.size);
  const bytes = await readBytes(file, at - SECTOR, 3 * SECTOR);
  const marker = MARKER.decode(bytes);
  const header = HEADER.decode(bytes, SECTOR);
  const end = MARKER.decode(bytes, 2 * SECTOR);
  const sound =
    marker.type === FOOTER_MARKER && marker.size === 0 && end.value === 0n && end.size === 0 && end.type === 0;
  if (!sound || header.magic !== KDMV) {
    throw new StorageError("corrupt", "a streamed image without a footer", {
      layer: "vmdk",
      offset: at,
      hint: "the image is truncated or damaged: compare its size with that of a backup",
    });
  }
  return { header, at };
}

function refuse(h: Decoded<typeof HEADER.fields>): void {
  const feature =
    h.version < 1 || h.version > 3
      ? `VMDK version ${h.version}`
      : h.compression > DEFLATE
        ? `VMDK compression algorithm ${h.compression}`
        : h.compression === DEFLATE && (h.flags & MARKERS) === 0
          ? "compressed VMDK grains without markers"
          : h.capacity === 0n
            ? "a VMDK extent without a capacity"
            : null;
  if (feature === null) return;
  throw new StorageError("unsupported", `not supported: ${feature}`, {
    layer: "vmdk",
    feature,
    hint: "convert the image with the program that made it",
  });
}

function validate(
  h: Decoded<typeof HEADER.fields>,
  first: Decoded<typeof HEADER.fields>,
  at: number,
  fileSize: number,
  limits: Limits,
): SparseHeader {
  const bytes = (field: "capacity" | "grainSize" | "redundantOffset" | "directoryOffset") =>
    safeNumber(h[field] * BigInt(SECTOR), field, "vmdk", at + HEADER.fields[field].at);
  if ((h.flags & NEWLINES) !== 0 && Buffer.from(h.newlines).toString("latin1") !== "\n \r\n") {
    throw corrupt("the line ends in the header were changed: the file was copied as text and is damaged", at + 73);
  }
  const grainSectors = Number(h.grainSize);
  if (!isPowerOfTwo(grainSectors) || grainSectors > LARGEST_GRAIN)
    throw corrupt(`grains of ${h.grainSize} sectors`, at + HEADER.fields.grainSize.at);
  const { entriesPerTable } = h;
  if (!isPowerOfTwo(entriesPerTable) || entriesPerTable > 512)
    throw corrupt(`grain tables of ${entriesPerTable} entries`, at + HEADER.fields.entriesPerTable.at);
  const capacity = bytes("capacity");
  const grainSize = bytes("grainSize");
  const compressed = h.compression === DEFLATE;
  if (compressed)
    withinLimit(grainSize, limits.vmdkGrainBytes, "vmdkGrainBytes", "bytes of a compressed grain", "vmdk", at);
  const directoryEntries = Math.ceil(capacity / (grainSize * entriesPerTable));
  withinLimit(
    directoryEntries * 4,
    limits.vmdkDirectoryBytes,
    "vmdkDirectoryBytes",
    "bytes of the grain directory",
    "vmdk",
    at,
  );
  const directories = [bytes("directoryOffset")];
  if ((h.flags & REDUNDANT_DIRECTORY) !== 0) directories.push(bytes("redundantOffset"));
  for (const offset of directories) {
    if (offset < SECTOR || offset + directoryEntries * 4 > fileSize)
      throw corrupt(`the grain directory at ${offset} lies outside the file (${fileSize} bytes)`, offset);
  }
  return {
    version: h.version,
    capacity,
    grainSize,
    entriesPerTable,
    directories,
    directoryEntries,
    descriptor: descriptorPlace(first, fileSize, limits),
    zeroGrains: (h.flags & ZERO_GRAINS) !== 0,
    compressed,
    unclean: h.unclean !== 0,
  };
}

/** In the header and not the footer: the descriptor stands at the start. */
function descriptorPlace(
  h: Decoded<typeof HEADER.fields>,
  fileSize: number,
  limits: Limits,
): SparseHeader["descriptor"] {
  if (h.descriptorOffset === 0n) return null;
  const at = HEADER.fields.descriptorOffset.at;
  const offset = safeNumber(h.descriptorOffset * BigInt(SECTOR), "descriptorOffset", "vmdk", at);
  const length = safeNumber(h.descriptorSize * BigInt(SECTOR), "descriptorSize", "vmdk", at);
  withinLimit(length, limits.vmdkDescriptorBytes, "vmdkDescriptorBytes", "bytes of the descriptor", "vmdk", at);
  if (offset + length > fileSize) throw corrupt("the descriptor reaches beyond the end of the file", offset);
  return { offset, length };
}

export function corrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "vmdk", offset });
}
