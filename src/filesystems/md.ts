import { alignDown } from "../bytes/integers.ts";
import { type Decoded, struct } from "../bytes/struct.ts";
import { uuidText } from "../bytes/uuid.ts";
import type { Finding } from "../core/finding.ts";
import type { ProbeWindow } from "../core/layer.ts";
import {
  badChecksum,
  type FilesystemInfo,
  jsonNumber,
  type Recogniser,
  readExactly,
  sizeOf,
  utf8Field,
} from "./info.ts";
import { md090 } from "./md-090.ts";
import { MD_MAGIC, mdLevel } from "./md-levels.ts";
import { uuidOrNull } from "./uuids.ts";

const SECTOR = 512;
/** The superblock's fixed part; two bytes per device follow. */
const FIXED_BYTES = 256;
/** A version-1 superblock lies in 4 KiB (MAX_SB_SIZE in mdadm). */
const SUPERBLOCK_BYTES = 4096;
const MAX_DEVICES = (SUPERBLOCK_BYTES - FIXED_BYTES) / 2;

/** struct mdp_superblock_1 (Linux, include/uapi/linux/raid/md_p.h; md(4)). */
const SUPERBLOCK = struct("md superblock", "little", {
  magic: { at: 0, type: "u32", ref: "magic" },
  major: { at: 4, type: "u32", ref: "major_version" },
  features: { at: 8, type: "u32", ref: "feature_map" },
  setUuid: { at: 16, type: "bytes", length: 16, ref: "set_uuid" },
  setName: { at: 32, type: "bytes", length: 32, ref: "set_name" },
  level: { at: 72, type: "i32", ref: "level" },
  layout: { at: 76, type: "u32", ref: "layout" },
  size: { at: 80, type: "u64", ref: "size, sectors used of each device" },
  chunkSectors: { at: 88, type: "u32", ref: "chunksize" },
  raidDisks: { at: 92, type: "u32", ref: "raid_disks" },
  dataOffset: { at: 128, type: "u64", ref: "data_offset, sectors" },
  dataSize: { at: 136, type: "u64", ref: "data_size, sectors" },
  superOffset: { at: 144, type: "u64", ref: "super_offset, sectors" },
  deviceNumber: { at: 160, type: "u32", ref: "dev_number" },
  deviceUuid: { at: 168, type: "bytes", length: 16, ref: "device_uuid" },
  events: { at: 200, type: "u64", ref: "events" },
  resyncOffset: { at: 208, type: "u64", ref: "resync_offset" },
  checksum: { at: 216, type: "u32", ref: "sb_csum" },
  maxDevices: { at: 220, type: "u32", ref: "max_dev" },
});

type Superblock = Decoded<typeof SUPERBLOCK.fields>;

const ROLE_SPARE = 0xffff;
const ROLE_FAULTY = 0xfffe;
const ROLE_JOURNAL = 0xfffd;

/** A member of a Linux software RAID array; the four places where metadata can lie, in libblkid's order. */
export const md: Recogniser = {
  name: "md",
  usage: "raid",
  async recognise(window) {
    const old = await md090(window);
    if (old) return old;
    const end = alignDown(window.size, 4096) - 8192;
    return (
      (await version1(window, end, "1.0")) ??
      (await version1(window, 0, "1.1")) ??
      (await version1(window, SUPERBLOCK_BYTES, "1.2"))
    );
  },
};

async function version1(window: ProbeWindow, offset: number, version: string): Promise<FilesystemInfo | null> {
  const raw = await readExactly(window, offset, SUPERBLOCK_BYTES);
  if (!raw) return null;
  const sb = SUPERBLOCK.decode(raw);
  if (sb.magic !== MD_MAGIC || sb.major !== 1 || sb.superOffset !== BigInt(offset / SECTOR)) return null;
  const findings: Finding[] = checksumHolds(sb, raw) ? [] : [badChecksum("md", offset)];
  return {
    kind: "md-member",
    type: "linux_raid_member",
    uuid: uuidOrNull(sb.setUuid),
    label: utf8Field(sb.setName),
    size: null,
    state: null,
    details: {
      version,
      level: mdLevel(sb.level),
      name: utf8Field(sb.setName),
      arrayUuid: uuidText(sb.setUuid),
      deviceUuid: uuidText(sb.deviceUuid),
      role: roleOf(sb, raw),
      members: sb.raidDisks,
      layout: sb.layout,
      chunkSize: sb.chunkSectors * SECTOR,
      dataOffset: sizeOf(sb.dataOffset, SECTOR),
      dataSize: sizeOf(sb.dataSize, SECTOR),
      /** Bytes that each member gives to the array. */
      usedSize: sizeOf(sb.size, SECTOR),
      events: jsonNumber(sb.events),
      inSync: sb.resyncOffset === 0xffff_ffff_ffff_ffffn,
      featureMap: `0x${sb.features.toString(16)}`,
    },
    findings,
  };
}

function roleOf(sb: Superblock, raw: Uint8Array): number | string | null {
  if (sb.deviceNumber >= Math.min(sb.maxDevices, MAX_DEVICES)) return null;
  const at = FIXED_BYTES + sb.deviceNumber * 2;
  const role = raw[at]! + raw[at + 1]! * 256;
  if (role === ROLE_SPARE) return "spare";
  if (role === ROLE_FAULTY) return "faulty";
  return role === ROLE_JOURNAL ? "journal" : role;
}

/** calc_sb_1_csum (drivers/md/md.c): the 32-bit words, carries folded in once, with the field itself as zero. */
function checksumHolds(sb: Superblock, raw: Uint8Array): boolean {
  if (sb.maxDevices > MAX_DEVICES) return false;
  const buffer = Buffer.from(raw.buffer, raw.byteOffset, FIXED_BYTES + sb.maxDevices * 2);
  let sum = 0;
  let at = 0;
  for (; at + 4 <= buffer.length; at += 4) sum += buffer.readUInt32LE(at);
  if (at < buffer.length) sum += buffer.readUInt16LE(at);
  sum -= sb.checksum;
  return ((sum % 2 ** 32) + Math.floor(sum / 2 ** 32)) % 2 ** 32 === sb.checksum;
}
