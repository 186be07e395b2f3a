import { alignUp, isPowerOfTwo } from "../../bytes/integers.ts";
import { struct } from "../../bytes/struct.ts";
import { type BlockPlace, blockMapped } from "../../core/block-map.ts";
import type { BlockDevice } from "../../core/device.ts";
import { readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { safeNumber } from "../../core/numbers.ts";
import { TablePages } from "../../core/table-pages.ts";
import { checksum, FOOTER_BYTES } from "./footer.ts";

const HEADER_BYTES = 1024;
const SECTOR = 512;
const UNUSED = 0xffffffff;
const LARGEST_BLOCK = 256 * 1024 * 1024;

const HEADER = struct("VHD dynamic disk header", "big", {
  cookie: { at: 0, type: "ascii", length: 8 },
  tableOffset: { at: 16, type: "u64" },
  version: { at: 24, type: "u32" },
  maxTableEntries: { at: 28, type: "u32" },
  blockSize: { at: 32, type: "u32" },
  checksum: { at: 36, type: "u32" },
});

/** What stands before the blocks of a dynamic image. Sizes and offsets in bytes. */
export interface DynamicHeader {
  readonly at: number;
  readonly tableOffset: number;
  readonly tableEntries: number;
  readonly blockSize: number;
}

/** Reads the dynamic disk header at `dataOffset`. Throws `corrupt` when its checksum or its fields are wrong. */
export async function readDynamicHeader(file: BlockDevice, dataOffset: bigint): Promise<DynamicHeader> {
  const at = safeNumber(dataOffset, "the place of the dynamic disk header", "vhd", 16);
  if (at + HEADER_BYTES > file.size) throw corrupt("the dynamic disk header lies beyond the end of the file", 16);
  const bytes = await readBytes(file, at, HEADER_BYTES);
  const h = HEADER.decode(bytes);
  if (h.cookie !== "cxsparse") throw corrupt("no dynamic disk header where the footer says", at);
  if (h.checksum !== checksum(bytes, HEADER.fields.checksum.at))
    throw corrupt("the checksum of the dynamic disk header is wrong", at + HEADER.fields.checksum.at);
  if (h.version >>> 16 !== 1) {
    throw new StorageError("unsupported", `dynamic disk header of version ${h.version >>> 16}`, {
      layer: "vhd",
      feature: "dynamic disk header version",
    });
  }
  const { blockSize, maxTableEntries: tableEntries } = h;
  if (!isPowerOfTwo(blockSize) || blockSize < SECTOR || blockSize > LARGEST_BLOCK)
    throw corrupt(`blocks of ${blockSize} bytes`, at + HEADER.fields.blockSize.at);
  const tableOffset = safeNumber(h.tableOffset, "the place of the block allocation table", "vhd", at + 16);
  if (tableOffset + tableEntries * 4 > file.size)
    throw corrupt("the block allocation table reaches beyond the end of the file", tableOffset);
  return { at, tableOffset, tableEntries, blockSize };
}

/**
 * The disk in a dynamic image. Each block begins with a bitmap of the sectors that were written; as in QEMU it is not looked at, since
 * sectors that were not are zeros.
 */
export function dynamicDisk(file: BlockDevice, header: DynamicHeader, size: number): BlockDevice {
  const { tableOffset, tableEntries, blockSize } = header;
  const table = new TablePages(file, tableOffset, tableEntries * 4);
  const bitmapBytes = alignUp(Math.ceil(blockSize / SECTOR / 8), SECTOR);
  const metadata = [
    [0, FOOTER_BYTES],
    [header.at, header.at + HEADER_BYTES],
    [tableOffset, tableOffset + tableEntries * 4],
  ] as const;
  const decode = (view: DataView, index: number): BlockPlace => {
    const entry = view.getUint32(index);
    if (entry === UNUSED) return "hole";
    const start = entry * SECTOR;
    if (metadata.some(([from, to]) => start < to && start + bitmapBytes + blockSize > from))
      throw corrupt("a block lies on the image's metadata", start);
    return start + bitmapBytes;
  };
  return blockMapped({
    layer: "vhd",
    size,
    blockSize,
    sectorSize: SECTOR,
    file,
    place: (index) => table.entry(index * 4, decode),
  });
}

export function corrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "vhd", offset });
}
