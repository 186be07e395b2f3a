import { type BlockPlace, blockMapped } from "../../core/block-map.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { readOnlyImage, refusedImage } from "../../core/read-only-image.ts";
import { TablePages } from "../../core/table-pages.ts";
import { readHeader, truncation } from "./header.ts";

/** Entries of the block map that name no block (VirtualBox VDICore.h: VDI_IMAGE_BLOCK_FREE and _ZERO). */
const FREE = 0xffffffff;
const ZERO = 0xfffffffe;

/** The disk in a file that the driver recognised. */
export async function openVdi(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const file = members[0];
  if (!file) throw new StorageError("usage", "no file to open", { layer: "vdi" });
  const header = await readHeader(file);
  const { refused, size, mapOffset, dataOffset, blockSize, blocks, ...rest } = header;
  const details = { blockSize, ...rest };
  if (refused !== null) return refusedImage("vdi", details, refused);
  const short = truncation(header, file.size);
  const table = new TablePages(file, mapOffset, blocks * 4);
  const decode = (view: DataView, index: number): BlockPlace => {
    const entry = view.getUint32(index, true);
    return entry === FREE ? "hole" : entry === ZERO ? "zero" : dataOffset + entry * blockSize;
  };
  return readOnlyImage({
    format: "vdi",
    details,
    findings: short ? [short] : [],
    size,
    context,
    async open() {
      return blockMapped({
        layer: "vdi",
        size,
        blockSize,
        sectorSize: 512,
        file,
        place: (index) => table.entry(index * 4, decode),
      });
    },
  });
}
