import { crc32cRaw } from "../../src/bytes/crc.ts";
import type { Sparse } from "../engine/sparse.ts";
import { ascii, put32, put32be } from "./numbers.ts";

const KIB = 1024;

/** VHDX headers and region tables (MS-VHDX 2.2.2, 2.2.3): CRC-32C with the field as zeros. */
export function fixVhdx(image: Sparse): void {
  for (const [at, magic, length] of [
    [64 * KIB, "head", 4 * KIB],
    [128 * KIB, "head", 4 * KIB],
    [192 * KIB, "regi", 64 * KIB],
    [256 * KIB, "regi", 64 * KIB],
  ] as const) {
    const bytes = image.read(at, length);
    if (ascii(bytes, 0, 4) !== magic) continue;
    put32(bytes, 4, 0);
    put32(bytes, 4, ~crc32cRaw(bytes, 0xffff_ffff));
    image.write(at, bytes.subarray(0, 8));
  }
}

/** VHD footer and its copy, and the dynamic header: the complement of the sum of all bytes without the field. */
export function fixVhd(image: Sparse): void {
  for (const [at, magic, length, field] of [
    [0, "conectix", 512, 64],
    [image.size - 512, "conectix", 512, 64],
    [512, "cxsparse", 1024, 36],
  ] as const) {
    if (at < 0) continue;
    const bytes = image.read(at, length);
    if (ascii(bytes, 0, 8) !== magic) continue;
    put32be(bytes, field, 0);
    put32be(bytes, field, ~bytes.reduce((sum, b) => sum + b, 0));
    image.write(at, bytes);
  }
}
