import { struct } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";

/** drivers/md/dm-raid.c: DM_RAID_MAGIC ("DmRd"). */
const MAGIC = 0x64526d44;
/** FEATURE_FLAG_SUPPORTS_V190: the fields from `flags` on are there. */
const EXTENDED = 0x1;
/** MaxSector: nothing is left to be done. */
export const DONE = 0xffff_ffff_ffff_ffffn;
/** The superblock is the first of it; the write-intent bitmap follows. */
const SUPERBLOCK_BYTES = 512;

const SUPERBLOCK = struct("dm_raid_superblock", "little", {
  magic: { at: 0, type: "u32", ref: "drivers/md/dm-raid.c: struct dm_raid_superblock" },
  compat: { at: 4, type: "u32", ref: "compat_features" },
  devices: { at: 8, type: "u32", ref: "num_devices" },
  position: { at: 12, type: "u32", ref: "array_position" },
  events: { at: 16, type: "u64" },
  failed: { at: 24, type: "u64", ref: "failed_devices, bits 0 to 63" },
  recovery: { at: 32, type: "u64", ref: "disk_recovery_offset, sectors" },
  resync: { at: 40, type: "u64", ref: "array_resync_offset, sectors" },
  level: { at: 48, type: "u32" },
  layout: { at: 52, type: "u32" },
  stripe: { at: 56, type: "u32", ref: "stripe_sectors" },
  flags: { at: 60, type: "u32", ref: "1: being reshaped" },
  newLevel: { at: 72, type: "u32" },
  newLayout: { at: 76, type: "u32" },
  newStripe: { at: 80, type: "u32" },
  deltaDisks: { at: 84, type: "u32" },
  dataOffset: { at: 96, type: "u64", ref: "sectors" },
  failed1: { at: 120, type: "u64", ref: "extended_failed_devices" },
  failed2: { at: 128, type: "u64" },
  failed3: { at: 136, type: "u64" },
  incompat: { at: 144, type: "u32", ref: "incompat_features" },
});

/** What one device says of the array. */
export interface RaidSuperblock {
  readonly devices: number;
  readonly position: number;
  /** Counts changes of the array: the highest is the latest. */
  readonly events: bigint;
  /** One bit for each device that failed. */
  readonly failed: bigint;
  /** Sectors of this device that are rebuilt; DONE: all. */
  readonly recovery: bigint;
  /** Sectors up to which the array is synchronised; DONE: all. */
  readonly resync: bigint;
  readonly level: number;
  readonly layout: number;
  /** Bytes. */
  readonly stripe: number;
  /** The layout is being changed, was changed out of place, or is to be changed. */
  readonly reshaped: boolean;
}

/** Null: the device is new, the kernel has not written to it yet. */
export async function readRaidSuperblock(meta: BlockDevice): Promise<RaidSuperblock | null> {
  const s = SUPERBLOCK.decode(await readBytes(meta, 0, SUPERBLOCK_BYTES));
  if (s.magic !== MAGIC) return null;
  const extended = s.compat === EXTENDED;
  if ((s.compat !== 0 && !extended) || (extended && s.incompat !== 0)) {
    throw new StorageError("unsupported", `the RAID superblock has unknown features (${s.compat}, ${s.incompat})`, {
      layer: "lvm",
      feature: "raid superblock features",
    });
  }
  const changes =
    s.flags !== 0 ||
    s.deltaDisks !== 0 ||
    s.dataOffset !== 0n ||
    s.newLevel !== s.level ||
    s.newLayout !== s.layout ||
    s.newStripe !== s.stripe;
  return {
    devices: s.devices,
    position: s.position,
    events: s.events,
    failed: extended ? s.failed + (s.failed1 << 64n) + (s.failed2 << 128n) + (s.failed3 << 192n) : s.failed,
    recovery: s.recovery,
    resync: s.resync,
    level: s.level,
    layout: s.layout,
    stripe: s.stripe * 512,
    reshaped: extended && changes,
  };
}
