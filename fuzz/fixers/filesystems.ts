import { crc32cRaw } from "../../src/bytes/crc.ts";
import type { Sparse } from "../engine/sparse.ts";
import { ascii, put32 } from "./numbers.ts";

/** The superblock of XFS version 5; it covers the sector, with its own field as zeros. */
export function fixXfs(image: Sparse): void {
  const sb = image.read(0, 512);
  if (ascii(sb, 0, 4) !== "XFSB" || (sb[101]! & 0xf) !== 5) return;
  const sector = 256 * sb[102]! + sb[103]!;
  if (sector < 512 || sector > 32768) return;
  const whole = image.read(0, sector);
  put32(whole, 224, 0);
  put32(whole, 224, ~crc32cRaw(whole, 0xffff_ffff));
  image.write(224, whole.subarray(224, 228));
}

/** All copies of the Btrfs superblock; CRC-32C over what follows the checksum's 32 bytes. */
export function fixBtrfs(image: Sparse): void {
  for (const at of [0x10000, 0x400_0000]) {
    const sb = image.read(at, 4096);
    if (ascii(sb, 64, 8) !== "_BHRfS_M") continue;
    put32(sb, 0, ~crc32cRaw(sb.subarray(32), 0xffff_ffff));
    image.write(at, sb);
  }
}
