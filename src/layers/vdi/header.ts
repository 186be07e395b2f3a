import { isPowerOfTwo, isZero } from "../../bytes/integers.ts";
import { type Decoded, struct } from "../../bytes/struct.ts";
import { guidText } from "../../bytes/uuid.ts";
import type { BlockDevice } from "../../core/device.ts";
import { readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import { safeNumber } from "../../core/numbers.ts";

/** Bytes of the header with the text before it (VirtualBox VDICore.h: VDIPREHEADER and VDIHEADER1PLUS). */
const HEADER_BYTES = 512;
const SECTOR = 512;
/** VDI_IMAGE_SIGNATURE. */
export const VDI_SIGNATURE = 0xbeda107f;
export const SIGNATURE_AT = 0x40;
const VERSION_1_1 = 0x00010001;
/** Largest block that is believed; VirtualBox and QEMU make blocks of 1 MiB. */
const LARGEST_BLOCK = 256 * 1024 * 1024;

/** Only names of what VDI_IMAGE_TYPE holds; undo and differencing images need their parent. */
const TYPES: Readonly<Record<number, string>> = { 1: "dynamic", 2: "fixed", 3: "undo", 4: "differencing" };

const VDI_HEADER = struct("VDI header", "little", {
  signature: { at: SIGNATURE_AT, type: "u32" },
  version: { at: 0x44, type: "u32" },
  headerSize: { at: 0x48, type: "u32", ref: "cbHeader, from 0x48" },
  type: { at: 0x4c, type: "u32" },
  flags: { at: 0x50, type: "u32" },
  comment: { at: 0x54, type: "ascii", length: 256 },
  mapOffset: { at: 0x154, type: "u32", ref: "offBlocks" },
  dataOffset: { at: 0x158, type: "u32", ref: "offData" },
  sectorSize: { at: 0x168, type: "u32" },
  diskSize: { at: 0x170, type: "u64" },
  blockSize: { at: 0x178, type: "u32" },
  blockExtra: { at: 0x17c, type: "u32" },
  blocks: { at: 0x180, type: "u32" },
  blocksAllocated: { at: 0x184, type: "u32" },
  uuid: { at: 0x188, type: "bytes", length: 16 },
  parentUuid: { at: 0x1a8, type: "bytes", length: 16, ref: "uuidLinkage" },
});

/** A header that was found sound against the file it stands in. Sizes and offsets in bytes. */
export interface VdiHeader {
  /** `dynamic` or `fixed`, or what is refused. */
  readonly subformat: string;
  readonly uuid: string;
  readonly parentUuid: string | null;
  readonly size: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly blocksAllocated: number;
  readonly mapOffset: number;
  readonly dataOffset: number;
  /** What this image needs that is not supported, by its name in VirtualBox's sources, or null. */
  readonly refused: string | null;
}

/** The header counts more blocks than the file can hold: some will turn out to lie beyond its end. */
export function truncation(header: VdiHeader, fileSize: number): Finding | null {
  const { dataOffset, blocksAllocated, blockSize } = header;
  if (dataOffset + blocksAllocated * blockSize <= fileSize) return null;
  return {
    severity: "error",
    code: "vdi-truncated",
    message: `the file is too short for the ${blocksAllocated} blocks that its header counts: the image is truncated`,
    layer: "vdi",
    offset: 0x184,
  };
}

/** Reads and judges the header. Throws `corrupt` for what contradicts itself or the file's size. */
export async function readHeader(file: BlockDevice): Promise<VdiHeader> {
  if (file.size < HEADER_BYTES) throw corrupt("the file ends inside the header", file.size);
  const h = VDI_HEADER.decode(await readBytes(file, 0, HEADER_BYTES));
  if (h.signature !== VDI_SIGNATURE) throw corrupt("no VDI signature", SIGNATURE_AT);
  const named = refusal(h);
  // The fields of another version need not lie where these do.
  if (h.version !== VERSION_1_1) return { ...EMPTY, refused: named };
  const size = Math.ceil(safeNumber(h.diskSize, "the size of the disk", "vdi", 0x170) / SECTOR) * SECTOR;
  const header: VdiHeader = {
    subformat: TYPES[h.type] ?? `type ${h.type}`,
    uuid: guidText(h.uuid),
    parentUuid: isZero(h.parentUuid) ? null : guidText(h.parentUuid),
    size,
    blockSize: h.blockSize,
    blocks: h.blocks,
    blocksAllocated: h.blocksAllocated,
    mapOffset: h.mapOffset,
    dataOffset: h.dataOffset,
    refused: named,
  };
  validate(header, h, file.size);
  return header;
}

const EMPTY = {
  subformat: "unknown",
  uuid: "",
  parentUuid: null,
  size: 0,
  blockSize: 0,
  blocks: 0,
  blocksAllocated: 0,
  mapOffset: 0,
  dataOffset: 0,
};

function refusal(h: Decoded<typeof VDI_HEADER.fields>): string | null {
  if (h.version !== VERSION_1_1) return `VDI version ${h.version >>> 16}.${h.version & 0xffff}`;
  if (!(h.type in TYPES)) return `VDI image type ${h.type}`;
  if (h.type > 2 || !isZero(h.parentUuid)) return "a differencing VDI image (merge it with its parent first)";
  if (h.blockExtra !== 0) return "VDI blocks with extra data";
  if (h.sectorSize !== SECTOR) return `VDI sectors of ${h.sectorSize} bytes`;
  return null;
}

function validate(header: VdiHeader, h: Decoded<typeof VDI_HEADER.fields>, fileSize: number): void {
  const { blockSize, blocks, size, mapOffset, dataOffset } = header;
  if (!isPowerOfTwo(blockSize) || blockSize < SECTOR || blockSize > LARGEST_BLOCK)
    throw corrupt(`blocks of ${blockSize} bytes`, 0x178);
  if (size > blocks * blockSize) throw corrupt(`a disk of ${size} bytes in ${blocks} blocks of ${blockSize}`, 0x170);
  if (mapOffset < 0x48 + h.headerSize || mapOffset % SECTOR !== 0)
    throw corrupt(`the block map at ${mapOffset}`, 0x154);
  if (dataOffset < mapOffset + blocks * 4 || dataOffset % SECTOR !== 0)
    throw corrupt(`the data at ${dataOffset}`, 0x158);
  if (mapOffset + blocks * 4 > fileSize) throw truncated("the block map", mapOffset, fileSize);
}

function corrupt(what: string, offset: number): StorageError {
  return new StorageError("corrupt", what, { layer: "vdi", offset });
}

function truncated(what: string, offset: number, fileSize: number): StorageError {
  return new StorageError("corrupt", `${what} reaches beyond the end of the file (${fileSize} bytes)`, {
    layer: "vdi",
    offset,
    hint: "the image is truncated: compare its size with that of a backup",
  });
}
