import { isPowerOfTwo } from "../../bytes/integers.ts";
import { StorageError } from "../../core/errors.ts";
import { parityAlgorithm, type RaidGeometry } from "../../raid/geometry.ts";
import { oneZone } from "../../raid/stripe-layout.ts";
import { levelName } from "./names.ts";
import type { MdSuperblock } from "./superblock.ts";

/** drivers/md/raid10.c, setup_geo: near copies, far copies, offset, and the two bits that ask for smaller far sets. */
const RAID10_OFFSET = 0x10000;

/** `legSizes`: bytes that each member gives, for raid0 only. Throws `unsupported` or `corrupt`. */
export function geometryOf(sb: MdSuperblock, legSizes: readonly number[]): RaidGeometry {
  const { level, chunk } = sb;
  const layout = sb.layout ?? 0;
  if (level === -1) return { kind: "linear", chunk };
  if (level === 1) return { kind: "raid1" };
  if (level === 0) return { kind: "raid0", chunk: striped(sb), zones: raid0Zones(sb, legSizes) };
  if (![4, 5, 6, 10].includes(level)) {
    throw unsupported(levelName(level), `arrays of ${levelName(level)} cannot be opened`);
  }
  if (!isPowerOfTwo(striped(sb))) throw corrupt(`a ${levelName(level)} with chunks of ${chunk} bytes`);
  if (level === 4) return { kind: "raid4", chunk };
  if (level === 10) return raid10(sb, layout);
  const algorithm = parityAlgorithm(level === 6 ? 6 : 5, layout);
  if (algorithm === null) throw unsupported(`layout ${layout}`, `${levelName(level)} has no layout ${layout}`);
  return { kind: level === 6 ? "raid6" : "raid5", chunk, algorithm };
}

function striped({ chunk, level }: MdSuperblock): number {
  if (chunk < 512 || chunk % 512 !== 0) throw corrupt(`a ${levelName(level)} with chunks of ${chunk} bytes`);
  return chunk;
}

function raid0Zones(sb: MdSuperblock, legSizes: readonly number[]): "original" | "alternate" {
  if (sb.layout === 1) return "original";
  if (sb.layout === 2) return "alternate";
  // With members of one size there is nothing to choose.
  if (oneZone(sb.chunk, legSizes)) return "original";
  throw unsupported(
    "raid0 layout",
    "its members differ in size, and the metadata does not say which of two layouts the kernel that wrote it used (raid0.default_layout)",
  );
}

function raid10(sb: MdSuperblock, layout: number): RaidGeometry {
  const near = layout & 255;
  const far = (layout >> 8) & 255;
  const sets = layout >>> 17;
  if (sets > 2) throw unsupported(`layout 0x${layout.toString(16)}`, `raid10 has no layout 0x${layout.toString(16)}`);
  if (near < 1 || far < 1) throw corrupt(`a raid10 with ${near} near and ${far} far copies`);
  const farSet = [sb.raidDisks, Math.floor(sb.raidDisks / far), far * near][sets]!;
  return { kind: "raid10", chunk: sb.chunk, near, far, offset: (layout & RAID10_OFFSET) !== 0, farSet };
}

function unsupported(feature: string, message: string): StorageError {
  return new StorageError("unsupported", message, { layer: "md", feature });
}

function corrupt(what: string): StorageError {
  return new StorageError("corrupt", `the metadata describes ${what}`, { layer: "md" });
}
