import { alignDown } from "../../bytes/integers.ts";
import { struct, view } from "../../bytes/struct.ts";
import { uuidText } from "../../bytes/uuid.ts";
import { MD_MAGIC } from "./names.ts";
import { insidePartition } from "./partitions.ts";
import { type MdReader, type MdResult, type MdRole, SECTOR } from "./superblock.ts";

/** MD_RESERVED_BYTES: the superblock is in the last whole 64 KiB of the device (include/uapi/linux/raid/md_p.h). */
const RESERVED = 65536;
export const SUPERBLOCK_090_BYTES = 4096;
const MAX_DISKS = 27;
const DISKS_AT = 512;
const DISK_BYTES = 128;
/** Behind the superblock (bitmap_info.default_offset in super_90_validate). */
const BITMAP_AFTER = SUPERBLOCK_090_BYTES;

/** mdp_super_t, in the byte order of the machine that made it; the halves of 64-bit numbers are in that order too. */
const fields = (big: boolean) =>
  ({
    magic: { at: 0, type: "u32", ref: "md_magic" },
    major: { at: 4, type: "u32", ref: "major_version" },
    minorVersion: { at: 8, type: "u32", ref: "minor_version" },
    uuid0: { at: 20, type: "u32", ref: "set_uuid0" },
    level: { at: 28, type: "i32", ref: "level" },
    sizeKiB: { at: 32, type: "u32", ref: "size" },
    raidDisks: { at: 40, type: "u32", ref: "raid_disks" },
    mdMinor: { at: 44, type: "u32", ref: "md_minor" },
    uuid1: { at: 52, type: "u32", ref: "set_uuid1" },
    uuid2: { at: 56, type: "u32", ref: "set_uuid2" },
    uuid3: { at: 60, type: "u32", ref: "set_uuid3" },
    state: { at: 132, type: "u32", ref: "state" },
    checksum: { at: 152, type: "u32", ref: "sb_csum" },
    eventsLow: { at: big ? 160 : 156, type: "u32", ref: "events_lo" },
    eventsHigh: { at: big ? 156 : 160, type: "u32", ref: "events_hi" },
    checkpointLow: { at: big ? 168 : 164, type: "u32", ref: "cp_events_lo" },
    checkpointHigh: { at: big ? 164 : 168, type: "u32", ref: "cp_events_hi" },
    recoveryCheckpoint: { at: 172, type: "u32", ref: "recovery_cp, sectors" },
    layout: { at: 256, type: "u32", ref: "layout" },
    chunk: { at: 260, type: "u32", ref: "chunk_size, bytes" },
    /** this_disk, the last 32 words of the first 4 KiB: number, major, minor, raid_disk, state. */
    thisNumber: { at: 3968, type: "u32", ref: "this_disk.number" },
  }) as const;
const LITTLE = struct("md 0.90 superblock", "little", fields(false));
const BIG = struct("md 0.90 superblock", "big", fields(true));

/** MD_SB_* and MD_DISK_*: numbers of bits. */
const STATE_CLEAN = 1 << 0;
const STATE_BITMAP = 1 << 8;
const DISK_FAULTY = 1 << 0;
const DISK_ACTIVE = 1 << 1;
const DISK_SYNC = 1 << 2;
const DISK_REMOVED = 1 << 3;
const DISK_WRITE_MOSTLY = 1 << 9;
/** minor_version while an array is reshaped. */
const RESHAPING = 91;

/** A superblock of version 0.90 where a device of this size has it, judged as super_90_load in drivers/md/md.c does. */
export async function readSuperblock090(read: MdReader, deviceSize: number): Promise<MdResult> {
  if (deviceSize < 2 * RESERVED) return { kind: "absent" };
  const offset = alignDown(deviceSize, RESERVED) - RESERVED;
  const raw = await read(offset, SUPERBLOCK_090_BYTES);
  if (raw.length < SUPERBLOCK_090_BYTES) return { kind: "absent" };
  const bigEndian = BIG.decode(raw).magic === MD_MAGIC;
  const sb = (bigEndian ? BIG : LITTLE).decode(raw);
  if (sb.magic !== MD_MAGIC || sb.major !== 0) return { kind: "absent" };
  const usedSize = sb.sizeKiB * 1024;
  if (await insidePartition(read, offset)) return { kind: "absent" };
  const damaged = (reason: string): MdResult => ({ kind: "damaged", reason, offset, version: "0.90" });
  if (sb.minorVersion !== 90 && sb.minorVersion !== RESHAPING)
    return damaged(`version 0.${sb.minorVersion} is not known`);
  if (fold(checksum090(raw, bigEndian)) !== fold(sb.checksum))
    return damaged("the superblock's checksum does not hold");
  if (sb.raidDisks === 0) return damaged("the superblock names no devices");
  if (sb.level >= 1 && usedSize > offset)
    return damaged(`the array uses ${usedSize} bytes of each member, here are ${offset}`);
  const { roles, states } = readDisks(raw, bigEndian);
  const uuid = Buffer.alloc(16);
  [sb.uuid0, sb.uuid1, sb.uuid2, sb.uuid3].forEach((part, i) => {
    uuid.writeUInt32BE(part, i * 4);
  });
  const clean = (sb.state & STATE_CLEAN) !== 0;
  const checkpointHolds = sb.eventsLow === sb.checkpointLow && sb.eventsHigh === sb.checkpointHigh;
  return {
    kind: "member",
    superblock: {
      version: "0.90",
      offset,
      bigEndian,
      uuid: uuidText(uuid),
      deviceUuid: null,
      deviceNumber: sb.thisNumber,
      name: null,
      minor: sb.mdMinor,
      level: sb.level,
      layout: sb.level === 0 ? null : sb.layout,
      chunk: sb.chunk,
      raidDisks: sb.raidDisks,
      usedSize,
      dataOffset: 0,
      dataSize: offset,
      events: BigInt(sb.eventsHigh) * 2n ** 32n + BigInt(sb.eventsLow),
      role: roles.get(sb.thisNumber) ?? "spare",
      roles,
      recoveredTo: null,
      syncedTo: clean ? null : checkpointHolds ? sb.recoveryCheckpoint * SECTOR : 0,
      writeMostly: ((states.get(sb.thisNumber) ?? 0) & DISK_WRITE_MOSTLY) !== 0,
      replacement: false,
      bitmapAt: (sb.state & STATE_BITMAP) !== 0 ? offset + BITMAP_AFTER : null,
      badBlockLog: null,
      hasJournal: false,
      hasPpl: false,
      refused:
        sb.minorVersion === RESHAPING
          ? {
              feature: "reshape",
              reason: "the array is being reshaped; let Linux finish that first (mdadm --assemble)",
            }
          : null,
    },
  };
}

function readDisks(raw: Uint8Array, bigEndian: boolean) {
  const dv = view(raw);
  const roles = new Map<number, MdRole>();
  const states = new Map<number, number>();
  for (let n = 0; n < MAX_DISKS; n++) {
    const at = DISKS_AT + n * DISK_BYTES;
    const state = dv.getUint32(at + 16, !bigEndian);
    states.set(n, state);
    if ((state & DISK_FAULTY) !== 0) roles.set(n, "faulty");
    else if ((state & DISK_SYNC) !== 0) roles.set(n, dv.getUint32(at + 12, !bigEndian));
    // Active but not in sync exists only while an array is reshaped.
    else if ((state & (DISK_ACTIVE | DISK_REMOVED)) === 0) roles.set(n, "spare");
  }
  return { roles, states };
}

/** calc_sb_csum: the sum of all 32-bit words with carries added, the field itself as zero. */
function checksum090(raw: Uint8Array, bigEndian: boolean): number {
  const dv = view(raw);
  let sum = 0;
  for (let at = 0; at < SUPERBLOCK_090_BYTES; at += 4) sum += dv.getUint32(at, !bigEndian);
  sum -= (bigEndian ? BIG : LITTLE).decode(raw).checksum;
  return ((sum % 2 ** 32) + Math.floor(sum / 2 ** 32)) % 2 ** 32;
}

/** md_csum_fold: old machines stored it folded to 16 bits. */
function fold(checksum: number): number {
  const once = (checksum % 65536) + Math.floor(checksum / 65536);
  return (once % 65536) + Math.floor(once / 65536);
}

/** Changes the event count of a superblock in place, and the checksum with it. */
export function setEvents090(raw: Uint8Array, bigEndian: boolean, events: bigint): void {
  const layout = bigEndian ? BIG : LITTLE;
  const old = layout.decode(raw);
  const eventsLow = Number(events % 2n ** 32n);
  const eventsHigh = Number(events / 2n ** 32n);
  layout.encode({ eventsLow, eventsHigh }, raw);
  // The checkpoint counts only as long as it has the same number.
  if (old.checkpointLow === old.eventsLow && old.checkpointHigh === old.eventsHigh) {
    layout.encode({ checkpointLow: eventsLow, checkpointHigh: eventsHigh }, raw);
  }
  layout.encode({ checksum: checksum090(raw, bigEndian) }, raw);
}
