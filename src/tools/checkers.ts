import { btrfsCheck } from "./btrfs-check.ts";
import type { Checker } from "./checker.ts";
import { e2fsck } from "./e2fsck.ts";
import { fsckFat } from "./fsck-fat.ts";
import { xfsRepair } from "./xfs-repair.ts";

const CHECKERS = new Map<string, Checker>([
  ["ext2", e2fsck],
  ["ext3", e2fsck],
  ["ext4", e2fsck],
  ["xfs", xfsRepair],
  ["btrfs", btrfsCheck],
  ["vfat", fsckFat],
]);

/** The checker for a file system type as blkid names it, or null when there is none. */
export function checkerFor(fsType: string): Checker | null {
  return CHECKERS.get(fsType) ?? null;
}

/** Every checker once, in the order of the table. */
export function allCheckers(): readonly Checker[] {
  return [...new Set(CHECKERS.values())];
}
