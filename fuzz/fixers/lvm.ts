import { crc32Raw } from "../../src/bytes/crc.ts";
import type { Sparse } from "../engine/sparse.ts";
import { ascii, put32, u64 } from "./numbers.ts";

/** lib/misc/crc.h, INITIAL_CRC. */
const SEED = 0xf597a6cf;
const AREA_MAGIC = " LVM2 x[5A%r0N*>";
const MOST = 256 * 1024;

/** Label, metadata area headers and the texts that they point to (lib/format_text/layout.h). */
export function fixLvm(image: Sparse): void {
  for (let at = 0; at < 4 * 512; at += 512) {
    const label = image.read(at, 512);
    if (ascii(label, 0, 8) !== "LABELONE") continue;
    put32(label, 16, crc32Raw(label.subarray(20), SEED));
    image.write(at, label);
  }
  for (const page of image.pages()) {
    const at = page * 4096;
    const header = image.read(at, 512);
    if (ascii(header, 4, 16) !== AREA_MAGIC) continue;
    const areaSize = u64(header, 32);
    for (let i = 40; i + 24 <= 512; i += 24) {
      const [offset, size] = [u64(header, i), u64(header, i + 8)];
      if (offset === 0) break;
      if (size > MOST || offset + size > 2 * areaSize) continue;
      put32(header, i + 16, textChecksum(image, at, areaSize, offset, size));
    }
    put32(header, 0, crc32Raw(header.subarray(4), SEED));
    image.write(at, header);
  }
}

/** The area is a ring behind its header of 512 bytes. */
function textChecksum(image: Sparse, area: number, areaSize: number, offset: number, size: number): number {
  const first = Math.max(0, Math.min(size, areaSize - offset));
  const crc = crc32Raw(image.read(area + offset, first), SEED);
  return crc32Raw(image.read(area + 512, size - first), crc);
}
