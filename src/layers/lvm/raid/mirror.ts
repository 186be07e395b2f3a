import { struct } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";
import type { Finding } from "../../../core/finding.ts";

/** drivers/md/dm-log.c: MIRROR_MAGIC ("MiRr"), MIRROR_DISK_VERSION, LOG_OFFSET sectors before the bits. */
const MAGIC = 0x4d695272;
const VERSION = 2;
const BITS_AT = 1024;

const LOG = struct("log_header_disk", "little", {
  magic: { at: 0, type: "u32", ref: "drivers/md/dm-log.c" },
  version: { at: 4, type: "u32" },
  regions: { at: 8, type: "u64", ref: "nr_regions" },
});

/** A place of the mirror's bytes; null: missing. */
export type MirrorLeg = { readonly device: BlockDevice; readonly at: number } | null;

export interface OldMirror {
  /** The leg to read from. */
  readonly leg: NonNullable<MirrorLeg>;
  readonly findings: readonly Finding[];
}

/**
 * A mirror of the old kind (drivers/md/dm-raid1.c): regions that are not in sync are read from its first leg, so that this one is right
 * always. Another one stands in for it only when a log on disk says that all regions are in sync.
 */
export async function openOldMirror(
  name: string,
  legs: readonly MirrorLeg[],
  log: BlockDevice | null,
  regions: number,
): Promise<OldMirror> {
  const missing = legs.flatMap((leg, i) => (leg ? [] : [i]));
  const message = `${name}: the mirror lacks ${missing.map((i) => `image ${i}`).join(", ")}`;
  const findings: Finding[] =
    missing.length > 0 ? [{ severity: "warning", code: "lvm-raid-degraded", message, layer: "lvm" }] : [];
  if (legs[0]) return { leg: legs[0], findings };
  const other = legs.find((leg) => leg !== null);
  if (other && log && (await isInSync(log, regions))) return { leg: other, findings };
  throw new StorageError("io", `${message}, and no log says that the others are in sync`, { layer: "lvm" });
}

async function isInSync(log: BlockDevice, regions: number): Promise<boolean> {
  if (!Number.isSafeInteger(regions) || regions <= 0) return false;
  const bytes = Math.ceil(regions / 8);
  if (BITS_AT + bytes > log.size) return false;
  const header = LOG.decode(await readBytes(log, 0, 512));
  if (header.magic !== MAGIC || header.version !== VERSION || header.regions < BigInt(regions)) return false;
  const step = 1024 * 1024;
  for (let at = 0; at < bytes; at += step) {
    const bits = await readBytes(log, BITS_AT + at, Math.min(step, bytes - at));
    // Bits behind the last region are set by the kernel too, but mean nothing.
    const last = regions - at * 8;
    for (let i = 0; i < bits.length; i++) {
      const wanted = last >= (i + 1) * 8 ? 0xff : 2 ** (last - i * 8) - 1;
      if ((bits[i]! & wanted) !== wanted) return false;
    }
  }
  return true;
}
