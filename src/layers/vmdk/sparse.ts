import { type BlockPlace, blockMapped } from "../../core/block-map.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import type { Finding } from "../../core/finding.ts";
import type { Limits } from "../../core/limits.ts";
import { TablePages } from "../../core/table-pages.ts";
import { grainExpander } from "./grains.ts";
import { corrupt, readSparseHeader, SECTOR, type SparseHeader } from "./header.ts";

/** Table entry of a grain that reads as zeros, where the header allows it ("zeroed-grain GTE"). */
const ZEROED = 1;

/** A sparse extent that can be read. */
export interface SparseExtent {
  readonly header: SparseHeader;
  readonly findings: readonly Finding[];
  /** The extent's content; `file` must outlive it. */
  open(): BlockDevice;
}

/** Reads header and grain directory of a hosted sparse extent. Throws `corrupt` when neither directory is usable. */
export async function openSparse(file: BlockDevice, limits: Limits): Promise<SparseExtent> {
  const header = await readSparseHeader(file, limits);
  const { directory, findings } = await soundDirectory(file, header);
  if (header.unclean) {
    findings.push({
      severity: "warning",
      code: "vmdk-unclean",
      message: "the image was not closed: what was written last may be missing",
      layer: "vmdk",
      offset: 72,
    });
  }
  return { header, findings, open: () => sparseDisk(file, header, directory) };
}

/** The primary grain directory, or the redundant one when an entry of the primary names a table outside the file. */
async function soundDirectory(
  file: BlockDevice,
  header: SparseHeader,
): Promise<{ directory: DataView; findings: Finding[] }> {
  const findings: Finding[] = [];
  const tableBytes = header.entriesPerTable * 4;
  for (const at of header.directories) {
    const bytes = await readBytes(file, at, header.directoryEntries * 4);
    const directory = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let bad = -1;
    for (let i = 0; i < header.directoryEntries && bad < 0; i++) {
      if (directory.getUint32(i * 4, true) * SECTOR + tableBytes > file.size) bad = i;
    }
    if (bad < 0) return { directory, findings };
    findings.push({
      severity: "warning",
      code: "vmdk-grain-directory",
      message: "the grain directory names a table beyond the end of the file; its redundant copy is used",
      layer: "vmdk",
      offset: at + bad * 4,
    });
  }
  throw corrupt("the grain directory names a table beyond the end of the file", findings[0]!.offset!);
}

function sparseDisk(file: BlockDevice, header: SparseHeader, directory: DataView): BlockDevice {
  const { capacity, grainSize, entriesPerTable, zeroGrains } = header;
  const pages = new TablePages(file, 0, file.size);
  /** Where the grain lies in the file, compressed or not. */
  const place = (index: number): BlockPlace | Promise<BlockPlace> => {
    const table = directory.getUint32(Math.floor(index / entriesPerTable) * 4, true);
    if (table === 0) return "hole";
    const at = table * SECTOR + (index % entriesPerTable) * 4;
    return pages.entry(at, (view, i): BlockPlace => {
      const entry = view.getUint32(i, true);
      if (entry === 0) return "hole";
      if (entry !== ZEROED) return entry * SECTOR;
      if (zeroGrains) return "zero";
      throw corrupt("a grain that lies on the image's metadata", at);
    });
  };
  const common = { layer: "vmdk", size: capacity, blockSize: grainSize, sectorSize: SECTOR };
  if (!header.compressed) return blockMapped({ ...common, file, place });
  // Compressed grains lie nowhere as they are: the expander has each at its place in the disk.
  const unfolded = (index: number, p: BlockPlace): BlockPlace => (typeof p === "number" ? index * grainSize : p);
  return blockMapped({
    ...common,
    file: grainExpander(file, header, place),
    place(index) {
      const p = place(index);
      return typeof p === "object" ? p.then((found) => unfolded(index, found)) : unfolded(index, p);
    },
  });
}
