import type { BlockDevice } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";
import type { Finding } from "../../../core/finding.ts";
import { dataLegs, type ParityAlgorithm, type RaidGeometry } from "../../../raid/geometry.ts";
import { openRaid } from "../../../raid/open.ts";
import type { RaidSegment } from "../segments.ts";
import { hasDirtyRegions } from "./bitmap.ts";
import { DONE, type RaidSuperblock, readRaidSuperblock } from "./superblock.ts";

/** One device of the array, as far as it is there. */
export interface RaidMember {
  /** Null: none is needed (raid0), or it is missing. */
  readonly meta: BlockDevice | null;
  readonly image: BlockDevice | null;
  /** Why the image must not be read although it may be there, or null. */
  readonly unusable: string | null;
  readonly writeMostly: boolean;
}

export interface RaidVolumeOptions {
  readonly name: string;
  readonly segment: RaidSegment;
  /** Bytes. */
  readonly length: number;
  readonly members: readonly RaidMember[];
  /** LVM was told to leave out the first synchronisation: parity means nothing. */
  readonly neverSynced: boolean;
  readonly writable: boolean;
}

export interface RaidVolume {
  readonly device: BlockDevice;
  readonly findings: readonly Finding[];
  readonly readOnly: string | null;
}

interface State {
  /** For each device why it does not count, or null. */
  readonly out: readonly (string | null)[];
  /** Copies or parity may disagree, and why. */
  readonly unsynced: string | null;
}

/**
 * A RAID LV: which devices are in sync is what the latest superblock says (drivers/md/dm-raid.c: analyse_superblocks, super_validate).
 * Written to only when all devices are there and in sync, so that neither superblock nor bitmap has anything to record.
 */
export async function openRaidVolume(options: RaidVolumeOptions): Promise<RaidVolume> {
  const { name, segment, length, members } = options;
  const geometry = geometryOf(segment);
  if (!geometry) throw refuse(name, segment.type, `segment type ${segment.type} is not supported`);
  const legSize = legBytes(geometry, members.length, length, segment);
  const { out, unsynced } = await stateOf(options, geometry, legSize);
  const missing = out.flatMap((reason, i) => (reason === null ? [] : [`device ${i} (${reason})`]));
  const parity = geometry.kind === "raid5" || geometry.kind === "raid6";
  if (unsynced && parity && missing.length > 0) {
    throw refuse(
      name,
      "dirty degraded array",
      `${missing.join(", ")}, and ${unsynced}: what is missing cannot be calculated`,
    );
  }
  const device = openRaid({
    layer: "lvm",
    geometry,
    legs: members.map((m, i) => (out[i] === null ? { device: m.image! } : null)),
    legSizes: members.map(() => legSize),
    writable: options.writable && missing.length === 0 && unsynced === null,
    readLast: new Set(members.flatMap((m, i) => (m.writeMostly ? [i] : []))),
    trustParity: unsynced === null,
  });
  const findings: Finding[] = [];
  const say = (code: string, message: string) =>
    findings.push({ severity: "warning", code, message: `${name}: ${message}`, layer: "lvm" });
  if (missing.length > 0) say("lvm-raid-degraded", `the array is degraded: ${missing.join(", ")}`);
  if (unsynced) say("lvm-raid-not-in-sync", unsynced);
  const readOnly = missing.length > 0 ? "the array is degraded" : unsynced;
  return { device, findings, readOnly };
}

async function stateOf(o: RaidVolumeOptions, geometry: RaidGeometry, legSize: number): Promise<State> {
  const out = o.members.map((m) => unusable(m, legSize));
  if (geometry.kind === "raid0") return { out, unsynced: null };
  const blocks: (RaidSuperblock | null)[] = [];
  for (const [i, member] of o.members.entries()) {
    const block = await superblockOf(member);
    blocks.push(typeof block === "string" ? null : block);
    if (typeof block === "string") out[i] ??= block;
  }
  const latest = blocks.reduce((best, b) => (b && (!best || b.events > best.events) ? b : best), null);
  if (!latest) {
    // No superblock at all: made, but not used yet; the kernel would now take all devices as they are and synchronise them.
    return { out, unsynced: "it was never synchronised" };
  }
  checkLayout(o, geometry, latest);
  for (const [i, block] of blocks.entries()) {
    if (out[i] !== null) continue;
    if (!block) out[i] = "it is new and was not filled yet";
    else if (block.position !== i && geometry.kind !== "raid1") {
      throw corrupt(o.name, `device ${i} says that it is device ${block.position}`);
    } else if ((latest.failed >> BigInt(block.position)) % 2n === 1n) out[i] = "it failed earlier, its data is old";
    else if (block.recovery !== DONE) out[i] = "it is being rebuilt";
  }
  return { out, unsynced: await unsyncedReason(o, latest, blocks, out) };
}

async function unsyncedReason(
  o: RaidVolumeOptions,
  latest: RaidSuperblock,
  blocks: readonly (RaidSuperblock | null)[],
  out: readonly (string | null)[],
): Promise<string | null> {
  if (latest.resync !== DONE) return "it is not synchronised to its end yet";
  if (o.neverSynced) return "it was made without a first synchronisation";
  // Bits of a degraded array stay set for the device that is to come back: they say nothing about the others.
  if (out.some((reason) => reason !== null)) return null;
  const meta = o.members[blocks.indexOf(latest)]!.meta!;
  return (await hasDirtyRegions(meta)) ? "it was not shut down in order: the kernel has to synchronise it first" : null;
}

/** Why the device's data cannot be used whatever the superblocks say, or null. */
function unusable(member: RaidMember, legSize: number): string | null {
  if (member.unusable !== null) return member.unusable;
  if (!member.image) return "it is missing";
  return member.image.size < legSize ? "it is too small" : null;
}

/** A string says why the device does not count: the kernel leaves out a device whose superblock it cannot read. */
async function superblockOf(member: RaidMember): Promise<RaidSuperblock | null | string> {
  if (!member.meta) return "its metadata is missing";
  try {
    return await readRaidSuperblock(member.meta);
  } catch (error) {
    if (error instanceof StorageError && error.code === "io") return "its metadata cannot be read";
    throw error;
  }
}

/** LVM's text and the kernel's superblock must speak of the same array: else a change of its layout is under way. */
function checkLayout(o: RaidVolumeOptions, geometry: RaidGeometry, latest: RaidSuperblock): void {
  const [level, layout] = kernelNumbers(geometry);
  const stripe = "chunk" in geometry ? geometry.chunk : latest.stripe;
  const same =
    latest.level === level && (geometry.kind === "raid1" || latest.layout === layout) && latest.stripe === stripe;
  if (!latest.reshaped && same && latest.devices === o.members.length) return;
  throw refuse(o.name, "reshape", "its layout is being changed, or was changed and not finished");
}

/** Levels and layouts as numbers of the types (drivers/md/dm-raid.c: raid_types). */
const PARITY_TYPES: Readonly<Record<string, readonly [5 | 6, ParityAlgorithm]>> = {
  // Not what md calls RAID4: dm-raid has the parity on the first device.
  raid4: [5, 4],
  raid5: [5, 2],
  raid5_la: [5, 0],
  raid5_ra: [5, 1],
  raid5_ls: [5, 2],
  raid5_rs: [5, 3],
  raid5_n: [5, 5],
  raid6: [6, 8],
  raid6_zr: [6, 8],
  raid6_nr: [6, 9],
  raid6_nc: [6, 10],
  raid6_n_6: [6, 5],
  raid6_la_6: [6, 16],
  raid6_ra_6: [6, 17],
  raid6_ls_6: [6, 18],
  raid6_rs_6: [6, 19],
};

function geometryOf({ type, stripeSize: chunk, dataCopies, areas }: RaidSegment): RaidGeometry | null {
  const parity = Object.hasOwn(PARITY_TYPES, type) ? PARITY_TYPES[type]! : null;
  if (parity) return { kind: parity[0] === 5 ? "raid5" : "raid6", chunk, algorithm: parity[1] };
  switch (type) {
    case "raid0":
    case "raid0_meta":
      // All devices have the same size: there is one zone only, which both ways begin with.
      return { kind: "raid0", chunk, zones: "original" };
    case "raid1":
      return { kind: "raid1" };
    case "raid10":
    case "raid10_near":
      return { kind: "raid10", chunk, near: dataCopies, far: 1, offset: false, farSet: areas.length };
    default:
      return null;
  }
}

function kernelNumbers(geometry: RaidGeometry): readonly [level: number, layout: number] {
  switch (geometry.kind) {
    case "raid5":
      return [5, geometry.algorithm];
    case "raid6":
      return [6, geometry.algorithm];
    case "raid10":
      return [10, 256 + geometry.near];
    default:
      return [1, 0];
  }
}

/** Bytes that each device gives to the array (rs_set_dev_and_array_sectors). */
function legBytes(geometry: RaidGeometry, devices: number, length: number, s: RaidSegment): number {
  const copies = geometry.kind === "raid1" ? devices : geometry.kind === "raid10" ? geometry.near : 1;
  const size = (length * copies) / dataLegs(geometry, devices);
  if (Number.isSafeInteger(size) && size > 0) return size;
  throw new StorageError("corrupt", `${length} bytes cannot be spread over the ${devices} devices of a ${s.type}`, {
    layer: "lvm",
  });
}

function refuse(name: string, feature: string, message: string): StorageError {
  return new StorageError("unsupported", `${name}: ${message}`, { layer: "lvm", feature });
}

function corrupt(name: string, message: string): StorageError {
  return new StorageError("corrupt", `${name}: ${message}`, { layer: "lvm" });
}
