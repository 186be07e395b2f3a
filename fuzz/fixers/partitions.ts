import { crc32 } from "../../src/bytes/crc.ts";
import type { Sparse } from "../engine/sparse.ts";
import { ascii, u32, u64 } from "./numbers.ts";

const MOST = 1024 * 1024;

/** GPT headers (UEFI 2.10, 5.3.2), primary and backup, for both sector sizes: the entry array's checksum, then the header's. */
export function fixGpt(image: Sparse): void {
  for (const sector of [512, 4096]) {
    for (const at of [sector, image.size - sector]) {
      const header = image.read(Math.max(at, 0), 512);
      if (ascii(header, 0, 8) !== "EFI PART") continue;
      const entries = u64(header, 72) * sector;
      const length = u32(header, 80) * u32(header, 84);
      if (length <= MOST && entries < image.size) {
        new DataView(header.buffer).setUint32(88, crc32(image.read(entries, length)), true);
      }
      const size = u32(header, 12);
      if (size > 512 || size < 20) continue;
      new DataView(header.buffer).setUint32(16, 0, true);
      new DataView(header.buffer).setUint32(16, crc32(header.subarray(0, size)), true);
      image.write(at, header);
    }
  }
}
