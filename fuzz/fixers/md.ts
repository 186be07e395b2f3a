import type { Sparse } from "../engine/sparse.ts";
import { put32, u32 } from "./numbers.ts";

const MAGIC = 0xa92b4efc;

/** Superblocks of Linux md where each version puts them (include/uapi/linux/raid/md_p.h, drivers/md/md.c). */
export function fixMd(image: Sparse): void {
  const end = Math.floor(image.size / 512);
  const v10 = (end - 16 - ((end - 16) % 8)) * 512;
  for (const at of [0, 4096, v10]) if (at >= 0) fixVersion1(image, at);
  const v090 = (Math.floor(image.size / 65536) - 1) * 65536;
  if (v090 >= 0) fixVersion090(image, v090);
}

/** md.c, calc_sb_1_csum(). */
function fixVersion1(image: Sparse, at: number): void {
  const head = image.read(at, 256);
  if (u32(head, 0) !== MAGIC || u32(head, 4) !== 1) return;
  const length = 256 + 2 * Math.min(u32(head, 220), 1920);
  const sb = image.read(at, length + (length % 4));
  put32(sb, 216, 0);
  let sum = 0;
  for (let i = 0; i + 4 <= length; i += 4) sum += u32(sb, i);
  if (length % 4 === 2) sum += sb[length - 2]! + 256 * sb[length - 1]!;
  put32(sb, 216, (sum % 0x1_0000_0000) + Math.floor(sum / 0x1_0000_0000));
  image.write(at + 216, sb.subarray(216, 220));
}

/** md.c, calc_sb_csum(): the field itself counts as 0. */
function fixVersion090(image: Sparse, at: number): void {
  const sb = image.read(at, 4096);
  if (u32(sb, 0) !== MAGIC) return;
  put32(sb, 38 * 4, 0);
  let sum = 0;
  for (let i = 0; i < 4096; i += 4) sum += u32(sb, i);
  put32(sb, 38 * 4, (sum % 0x1_0000_0000) + Math.floor(sum / 0x1_0000_0000));
  image.write(at + 38 * 4, sb.subarray(38 * 4, 39 * 4));
}
