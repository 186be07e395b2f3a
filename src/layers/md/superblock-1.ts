import { exactNumber, isZero } from "../../bytes/integers.ts";
import { type Decoded, struct, view } from "../../bytes/struct.ts";
import { uuidText } from "../../bytes/uuid.ts";
import { MD_MAGIC } from "./names.ts";
import { type MdReader, type MdResult, type MdRole, type MdSuperblock, SECTOR } from "./superblock.ts";

/** The superblock's fixed part; two bytes per device follow. */
const FIXED_BYTES = 256;
/** MAX_SB_SIZE in mdadm; the kernel reads as much. */
export const SUPERBLOCK_1_BYTES = 4096;
const MAX_DEVICES = (SUPERBLOCK_1_BYTES - FIXED_BYTES) / 2;

/** struct mdp_superblock_1 (Linux, include/uapi/linux/raid/md_p.h; md(4)). */
const SUPERBLOCK = struct("md superblock", "little", {
  magic: { at: 0, type: "u32", ref: "magic" },
  major: { at: 4, type: "u32", ref: "major_version" },
  features: { at: 8, type: "u32", ref: "feature_map" },
  pad0: { at: 12, type: "u32", ref: "pad0" },
  setUuid: { at: 16, type: "bytes", length: 16, ref: "set_uuid" },
  setName: { at: 32, type: "bytes", length: 32, ref: "set_name" },
  level: { at: 72, type: "i32", ref: "level" },
  layout: { at: 76, type: "u32", ref: "layout" },
  size: { at: 80, type: "u64", ref: "size, sectors used of each device" },
  chunkSectors: { at: 88, type: "u32", ref: "chunksize" },
  raidDisks: { at: 92, type: "u32", ref: "raid_disks" },
  bitmapOffset: { at: 96, type: "i32", ref: "bitmap_offset, sectors from the superblock" },
  dataOffset: { at: 128, type: "u64", ref: "data_offset, sectors" },
  dataSize: { at: 136, type: "u64", ref: "data_size, sectors" },
  superOffset: { at: 144, type: "u64", ref: "super_offset, sectors" },
  recoveryOffset: { at: 152, type: "u64", ref: "recovery_offset, sectors from data_offset" },
  deviceNumber: { at: 160, type: "u32", ref: "dev_number" },
  deviceUuid: { at: 168, type: "bytes", length: 16, ref: "device_uuid" },
  deviceFlags: { at: 184, type: "u8", ref: "devflags" },
  badBlockShift: { at: 185, type: "u8", ref: "bblog_shift" },
  badBlockSectors: { at: 186, type: "u16", ref: "bblog_size" },
  badBlockOffset: { at: 188, type: "i32", ref: "bblog_offset, sectors from the superblock" },
  events: { at: 200, type: "u64", ref: "events" },
  resyncOffset: { at: 208, type: "u64", ref: "resync_offset, sectors" },
  checksum: { at: 216, type: "u32", ref: "sb_csum" },
  maxDevices: { at: 220, type: "u32", ref: "max_dev" },
  padding: { at: 224, type: "bytes", length: 32, ref: "pad3" },
});

type Raw = Decoded<typeof SUPERBLOCK.fields>;

/** MD_FEATURE_* in md_p.h. */
const FEATURE = {
  bitmap: 1,
  recoveryOffset: 2,
  reshape: 4,
  badBlocks: 8,
  replacement: 16,
  clustered: 256,
  journal: 512,
  ppl: 1024,
  multiplePpl: 2048,
  raid0Layout: 4096,
};
const KNOWN_FEATURES = 0x1fff;
const WRITE_MOSTLY = 1;
const NOT_AT_ALL = 0xffff_ffff_ffff_ffffn;
/** The kernel reads at most a page of the log. */
const MAX_BAD_BLOCK_SECTORS = 8;

const ROLE_SPARE = 0xffff;
const ROLE_FAULTY = 0xfffe;
const ROLE_JOURNAL = 0xfffd;
/** Above: reserved (MD_DISK_ROLE_MAX). */
const ROLE_MAX = 0xff00;

/** A version-1 superblock at `offset`, judged as super_1_load in drivers/md/md.c does. */
export async function readSuperblock1(
  read: MdReader,
  offset: number,
  version: "1.0" | "1.1" | "1.2",
  deviceSize: number,
): Promise<MdResult> {
  if (offset < 0 || offset + SUPERBLOCK_1_BYTES > deviceSize) return { kind: "absent" };
  const raw = await read(offset, SUPERBLOCK_1_BYTES);
  if (raw.length < SUPERBLOCK_1_BYTES) return { kind: "absent" };
  const sb = SUPERBLOCK.decode(raw);
  if (sb.magic !== MD_MAGIC || sb.major !== 1 || sb.superOffset !== BigInt(offset / SECTOR)) return { kind: "absent" };
  const damaged = (reason: string): MdResult => ({ kind: "damaged", reason, offset, version });
  if (sb.maxDevices > MAX_DEVICES) return damaged(`the superblock names ${sb.maxDevices} devices`);
  if (checksum1(raw) !== sb.checksum) return damaged("the superblock's checksum does not hold");
  const numbers = {
    usedSize: bytes(sb.size),
    dataOffset: bytes(sb.dataOffset),
    dataSize: bytes(sb.dataSize),
    recovered: bytes(sb.recoveryOffset),
  };
  const { usedSize, dataOffset, dataSize, recovered } = numbers;
  if (usedSize === null || dataOffset === null || dataSize === null)
    return damaged("a size is beyond what can be addressed");
  if (dataSize < 10 * SECTOR) return damaged(`the data area has ${dataSize} bytes`);
  const end = version === "1.0" ? offset : deviceSize;
  if (dataOffset + dataSize > end) {
    return damaged(
      `the data area ends at ${dataOffset + dataSize}, which is beyond the ${end} bytes that are there for it`,
    );
  }
  if (version !== "1.0" && dataOffset < offset + FIXED_BYTES + sb.maxDevices * 2)
    return damaged("the data area begins inside the superblock");
  const has = (feature: number) => (sb.features & feature) !== 0;
  if (has(FEATURE.recoveryOffset) && recovered === null)
    return damaged("the recovery offset is beyond what can be addressed");
  const roles = readRoles(sb, raw);
  const role = roles.get(sb.deviceNumber) ?? "spare";
  const superblock: MdSuperblock = {
    version,
    offset,
    bigEndian: false,
    uuid: uuidText(sb.setUuid),
    deviceUuid: isZero(sb.deviceUuid) ? null : uuidText(sb.deviceUuid),
    deviceNumber: sb.deviceNumber,
    name: text(sb.setName),
    minor: null,
    level: sb.level,
    layout: sb.level === 0 && !has(FEATURE.raid0Layout) ? null : sb.layout,
    chunk: sb.chunkSectors * SECTOR,
    raidDisks: sb.raidDisks,
    usedSize,
    dataOffset,
    dataSize,
    events: sb.events,
    role,
    roles,
    recoveredTo: has(FEATURE.recoveryOffset) && typeof role === "number" ? recovered : null,
    syncedTo: sb.resyncOffset === NOT_AT_ALL ? null : (bytes(sb.resyncOffset) ?? 0),
    writeMostly: (sb.deviceFlags & WRITE_MOSTLY) !== 0,
    replacement: has(FEATURE.replacement),
    bitmapAt: has(FEATURE.bitmap) ? offset + sb.bitmapOffset * SECTOR : null,
    badBlockLog: has(FEATURE.badBlocks)
      ? {
          at: offset + sb.badBlockOffset * SECTOR,
          sectors: sb.badBlockSectors,
          shift: sb.badBlockShift,
        }
      : null,
    hasJournal: has(FEATURE.journal),
    hasPpl: has(FEATURE.ppl) || has(FEATURE.multiplePpl),
    refused: refusedFeature(sb),
  };
  if (superblock.badBlockLog && (superblock.badBlockLog.sectors > MAX_BAD_BLOCK_SECTORS || sb.badBlockOffset === 0)) {
    return damaged("the log of bad blocks has a place or size that Linux refuses");
  }
  return { kind: "member", superblock };
}

function refusedFeature(sb: Raw): { feature: string; reason: string } | null {
  const unknown = (sb.features & ~KNOWN_FEATURES) >>> 0;
  if (unknown !== 0) {
    return {
      feature: `0x${unknown.toString(16)}`,
      reason: `the metadata feature 0x${unknown.toString(16)} is not known`,
    };
  }
  if (sb.pad0 !== 0 || !isZero(sb.padding))
    return { feature: "pad3", reason: "reserved fields of the superblock are in use" };
  if ((sb.features & FEATURE.reshape) !== 0) {
    return {
      feature: "reshape",
      reason: "the array is being reshaped; let Linux finish that first (mdadm --assemble)",
    };
  }
  if ((sb.features & FEATURE.clustered) !== 0)
    return { feature: "clustered", reason: "the array is shared by a cluster (md-cluster)" };
  return null;
}

function readRoles(sb: Raw, raw: Uint8Array): Map<number, MdRole> {
  const dv = view(raw);
  const roles = new Map<number, MdRole>();
  for (let n = 0; n < sb.maxDevices; n++) {
    const role = dv.getUint16(FIXED_BYTES + n * 2, true);
    if (role === ROLE_FAULTY) roles.set(n, "faulty");
    else if (role === ROLE_JOURNAL) roles.set(n, "journal");
    else if (role < ROLE_MAX) roles.set(n, role);
    else roles.set(n, role === ROLE_SPARE ? "spare" : "faulty");
  }
  return roles;
}

function bytes(sectors: bigint): number | null {
  return exactNumber(sectors * BigInt(SECTOR));
}

function text(field: Uint8Array): string | null {
  const end = field.indexOf(0);
  const value = Buffer.from(end < 0 ? field : field.subarray(0, end)).toString("utf8");
  return value === "" ? null : value;
}

/** calc_sb_1_csum (drivers/md/md.c): the 32-bit words, carries folded in once, with the field itself as zero. */
function checksum1(raw: Uint8Array): number {
  const sb = SUPERBLOCK.decode(raw);
  const buffer = Buffer.from(raw.buffer, raw.byteOffset, FIXED_BYTES + sb.maxDevices * 2);
  let sum = 0;
  let at = 0;
  for (; at + 4 <= buffer.length; at += 4) sum += buffer.readUInt32LE(at);
  if (at < buffer.length) sum += buffer.readUInt16LE(at);
  sum -= sb.checksum;
  return ((sum % 2 ** 32) + Math.floor(sum / 2 ** 32)) % 2 ** 32;
}

/** Changes the event count of a superblock in place, and the checksum with it. */
export function setEvents1(raw: Uint8Array, events: bigint): void {
  SUPERBLOCK.encode({ events }, raw);
  SUPERBLOCK.encode({ checksum: checksum1(raw) }, raw);
}
