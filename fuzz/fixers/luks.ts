import { createHash } from "node:crypto";
import type { Sparse } from "../engine/sparse.ts";
import { ascii } from "./numbers.ts";

const MAGICS = ["LUKS\xba\xbe\x00\x02", "SKUL\xba\xbe\x00\x02"];
/** LUKS2 1.1.3, table 1: where a second header may lie. */
const PLACES = [0, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000];
const MOST = 4 * 1024 * 1024;

/** SHA-256 over each LUKS2 header with its JSON area. */
export function fixLuks2(image: Sparse): void {
  for (const at of PLACES) {
    if (at >= image.size) break;
    const start = image.read(at, 512);
    if (!MAGICS.includes(ascii(start, 0, 8))) continue;
    const size = Number(new DataView(start.buffer).getBigUint64(8));
    const algorithm = ascii(start, 72, 7).split("\0")[0];
    if (size > MOST || size < 4096 || (algorithm !== "sha256" && algorithm !== "sha512" && algorithm !== "sha1"))
      continue;
    const whole = image.read(at, size);
    whole.fill(0, 448, 512);
    image.write(at + 448, new Uint8Array(64));
    image.write(at + 448, createHash(algorithm).update(whole).digest());
  }
}
