import { type BlockPlace, blockMapped } from "../../core/block-map.ts";
import type { BlockDevice } from "../../core/device.ts";
import { TablePages } from "../../core/table-pages.ts";
import { corrupt } from "./errors.ts";
import { HEADER_SECTION } from "./header.ts";
import type { Metadata } from "./metadata.ts";
import { overlaps, type Region } from "./regions.ts";

/** A sector bitmap describes this many sectors (MS-VHDX 2.5). */
const BITMAP_SECTORS = 2 ** 23;

/** Payload block states (MS-VHDX 2.5.1.1); 5 is unmapped in images of the format's drafts, as QEMU reads it too. */
const NOT_PRESENT = 0;
const UNDEFINED = 1;
const ZERO = 2;
const UNMAPPED = 3;
const UNMAPPED_DRAFT = 5;
const FULLY_PRESENT = 6;

/**
 * The disk over the block allocation table, for an image without a parent: sector bitmaps then have no meaning. After each `chunkRatio`
 * payload blocks the table has an entry for such a bitmap, which is passed over. Throws `corrupt` when the table is too small for the disk;
 * the function it gives opens a new device each time.
 */
export function diskOpener(
  file: BlockDevice,
  bat: Region,
  metadata: Metadata,
  areas: readonly Region[],
): () => BlockDevice {
  const { size, blockSize, logicalSectorSize } = metadata;
  const chunkRatio = (BITMAP_SECTORS * logicalSectorSize) / blockSize;
  const blocks = Math.ceil(size / blockSize);
  const entries = blocks + Math.floor(Math.max(0, blocks - 1) / chunkRatio);
  if (entries * 8 > bat.length)
    throw corrupt(`a disk of ${size} bytes, for which the block allocation table is too small`, bat.offset);
  const table = new TablePages(file, bat.offset, entries * 8);
  return () =>
    blockMapped({
      layer: "vhdx",
      size,
      blockSize,
      sectorSize: logicalSectorSize,
      file,
      place(index) {
        const entry = (index + Math.floor(index / chunkRatio)) * 8;
        return table.entry(entry, (view, i): BlockPlace => {
          const low = view.getUint32(i, true);
          const at = bat.offset + entry;
          switch (low % 8) {
            case NOT_PRESENT:
            case UNDEFINED:
            case UNMAPPED:
            case UNMAPPED_DRAFT:
              return "hole";
            case ZERO:
              return "zero";
            case FULLY_PRESENT: {
              // Bits 3 to 19 are reserved; the rest is the offset in units of 1 MiB.
              const reserved = low % HEADER_SECTION;
              const offset = view.getUint32(i + 4, true) * 2 ** 32 + (low - reserved);
              if (reserved !== FULLY_PRESENT)
                throw corrupt("an entry of the block allocation table with reserved bits set", at);
              const block = { offset, length: blockSize };
              if (offset < HEADER_SECTION || areas.some((area) => overlaps(area, block)))
                throw corrupt("a block that lies on the image's metadata", at);
              return offset;
            }
            default:
              throw corrupt(`a block in state ${low % 8}, which an image without a parent cannot have`, at);
          }
        });
      },
    });
}
