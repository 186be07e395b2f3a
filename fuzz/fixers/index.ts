import type { Sparse } from "../engine/sparse.ts";
import { fixPersistentData } from "./device-mapper.ts";
import { fixExt } from "./ext.ts";
import { fixBtrfs, fixXfs } from "./filesystems.ts";
import { fixVhd, fixVhdx } from "./images.ts";
import { fixLuks2 } from "./luks.ts";
import { fixLvm } from "./lvm.ts";
import { fixMd } from "./md.ts";
import { fixGpt } from "./partitions.ts";

const FIXERS = [fixGpt, fixLvm, fixLuks2, fixExt, fixXfs, fixBtrfs, fixMd, fixPersistentData, fixVhdx, fixVhd];

/** Makes every checksum right whose structure is recognised by its magic. */
export function fixChecksums(parts: readonly Sparse[]): void {
  for (const part of parts) for (const fix of FIXERS) fix(part);
}
