import { crc32Raw } from "../../src/bytes/crc.ts";

const SEED = 0xf597a6cf;
const AREA = 4096;
const AREA_SIZE = 64 * 1024;

export const PV_ID = (n: number) => `pvpvp${n}-pvpv-pvpv-pvpv-pvpv-pvpv-pvpvpv`;

/** A metadata text with physical volumes of 16 extents of 4 KiB and the given `logical_volumes` section. */
export function metadataText(logical: string, options: { pvs?: number; seqno?: number; head?: string } = {}): string {
  const pvs = Array.from(
    { length: options.pvs ?? 1 },
    (_, i) => `pv${i} { id = "${PV_ID(i)}" status = ["ALLOCATABLE"] dev_size = 384 pe_start = 256 pe_count = 16 }`,
  );
  return `vgx { id = "vgvgvg-vgvg-vgvg-vgvg-vgvg-vgvg-vgvgvg" seqno = ${options.seqno ?? 1} format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"] ${options.head ?? "extent_size = 8"}
physical_volumes { ${pvs.join("\n")} } logical_volumes { ${logical} } }
contents = "Text Format Volume Group"\nversion = 1\n`;
}

/** One LV of the given segments' bodies. */
export function lvText(name: string, segments: readonly string[], status = '"READ", "WRITE", "VISIBLE"'): string {
  const bodies = segments.map((body, i) => `segment${i + 1} { ${body} }`).join(" ");
  return `${name} { id = "${name}" status = [${status}] segment_count = ${segments.length} ${bodies} }`;
}

export function striped(start: number, count: number, areas: readonly (readonly [string, number])[], size = 8): string {
  const list = areas.map(([name, extent]) => `"${name}", ${extent}`).join(", ");
  return `start_extent = ${start} extent_count = ${count} type = "striped" stripe_count = ${areas.length} stripe_size = ${size} stripes = [${list}]`;
}

/** Puts the label's and the metadata area header's checksums right after a change. */
export function fixChecksums(disk: Buffer): void {
  disk.writeUInt32LE(crc32Raw(disk.subarray(512 + 20, 1024), SEED), 512 + 16);
  disk.writeUInt32LE(crc32Raw(disk.subarray(AREA + 4, AREA + 512), SEED), AREA);
}

/** A PV of 192 KiB: label in sector 1, one metadata area at 4096, extents from 128 KiB. */
export function pvImage(text: string, pv = 0): Buffer {
  const disk = Buffer.alloc(192 * 1024);
  disk.write("LABELONE", 512, "latin1");
  disk.writeBigUInt64LE(1n, 512 + 8);
  disk.writeUInt32LE(32, 512 + 20);
  disk.write("LVM2 001", 512 + 24, "latin1");
  disk.write(PV_ID(pv).replaceAll("-", ""), 544, "latin1");
  const words = [disk.length, 128 * 1024, 0, 0, 0, AREA, AREA_SIZE, 0, 0];
  for (const [i, word] of words.entries()) disk.writeBigUInt64LE(BigInt(word), 576 + i * 8);
  const bytes = Buffer.from(`${text}\0`);
  disk.write(" LVM2 x[5A%r0N*>", AREA + 4, "latin1");
  disk.writeUInt32LE(1, AREA + 20);
  for (const [i, word] of [AREA, AREA_SIZE, 512, bytes.length].entries()) {
    disk.writeBigUInt64LE(BigInt(word), AREA + 24 + i * 8);
  }
  disk.writeUInt32LE(crc32Raw(bytes, SEED), AREA + 56);
  bytes.copy(disk, AREA + 512);
  fixChecksums(disk);
  return disk;
}
