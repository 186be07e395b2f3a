import type { Finding } from "../core/finding.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { cached } from "./block-cache.ts";
import { bsdDisklabel } from "./bsd-disklabel.ts";
import { btrfs } from "./btrfs.ts";
import { bcache, bitlocker, drbd, zfs } from "./containers.ts";
import { exfat } from "./exfat.ts";
import { ext } from "./ext.ts";
import { fat } from "./fat.ts";
import type { FilesystemInfo, Recogniser } from "./info.ts";
import { iso9660 } from "./iso9660.ts";
import { ntfs } from "./ntfs.ts";
import { squashfs } from "./squashfs.ts";
import { swap } from "./swap.ts";
import { xfs } from "./xfs.ts";

export type { FilesystemInfo } from "./info.ts";

/** libblkid's order (idinfos[] in libblkid/src/superblocks/superblocks.c), except that ZFS and what is no file system come last. */
const RECOGNISERS: readonly Recogniser[] = [
  drbd,
  bitlocker,
  fat,
  swap,
  xfs,
  ext,
  iso9660,
  ntfs,
  exfat,
  btrfs,
  squashfs,
  bcache,
  zfs,
  bsdDisklabel,
];

/**
 * What file system, swap space or foreign container lies at the start of a volume, or null.
 *
 * Reads some tens of KiB at most, and never throws because of what it reads: only the window's own errors pass. When a second
 * signature is there, which blkid calls ambivalent and refuses to name, the first in libblkid's order is returned with the
 * finding `filesystem-ambiguous`.
 */
export async function recognise(window: ProbeWindow): Promise<FilesystemInfo | null> {
  const cache = cached(window);
  const hits: { info: FilesystemInfo; recogniser: Recogniser }[] = [];
  for (const recogniser of RECOGNISERS) {
    const info = await recogniser.recognise(cache);
    if (!info) continue;
    hits.push({ info, recogniser });
    if (recogniser.usage === "raid" || recogniser.usage === "crypto") break;
  }
  const strict = hits.filter((hit) => !hit.recogniser.tolerant);
  const first = strict[0] ?? hits[0];
  if (!first) return null;
  if (strict.length < 2) return first.info;
  const others = strict.slice(1).map((hit) => hit.info.type);
  return { ...first.info, findings: [...first.info.findings, ambiguous(first.info.type, others)] };
}

function ambiguous(type: string, others: readonly string[]): Finding {
  return {
    severity: "warning",
    code: "filesystem-ambiguous",
    message: `this looks like ${type}, and also like ${others.join(", ")}: one of them is a remnant; wipefs shows where`,
    layer: "filesystem",
  };
}
