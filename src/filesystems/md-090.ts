import { alignDown } from "../bytes/integers.ts";
import { struct, view } from "../bytes/struct.ts";
import { uuidText } from "../bytes/uuid.ts";
import type { ProbeWindow } from "../core/layer.ts";
import { type FilesystemInfo, readExactly } from "./info.ts";
import { MD_MAGIC, mdLevel } from "./md-levels.ts";

/** MD_RESERVED_BYTES: the superblock is the last whole 64 KiB of the device (include/uapi/linux/raid/md_p.h). */
const RESERVED = 65536;

/** mdp_super_t, in the byte order of the machine that made it. */
const FIELDS = {
  magic: { at: 0, type: "u32", ref: "md_magic" },
  major: { at: 4, type: "u32", ref: "major_version" },
  minor: { at: 8, type: "u32", ref: "minor_version" },
  patch: { at: 12, type: "u32", ref: "patch_version" },
  uuid0: { at: 20, type: "u32", ref: "set_uuid0" },
  level: { at: 28, type: "i32", ref: "level" },
  sizeKiB: { at: 32, type: "u32", ref: "size" },
  raidDisks: { at: 40, type: "u32", ref: "raid_disks" },
  uuid1: { at: 52, type: "u32", ref: "set_uuid1" },
  uuid2: { at: 56, type: "u32", ref: "set_uuid2" },
  uuid3: { at: 60, type: "u32", ref: "set_uuid3" },
  /** this_disk, the last 32 words of the first 4 KiB: number, major, minor, raid_disk, state. */
  role: { at: 3968 + 12, type: "u32", ref: "this_disk.raid_disk" },
} as const;
const LITTLE = struct("md 0.90 superblock", "little", FIELDS);
const BIG = struct("md 0.90 superblock", "big", FIELDS);

/** A member with metadata 0.90, or null. */
export async function md090(window: ProbeWindow): Promise<FilesystemInfo | null> {
  if (window.size < 2 * RESERVED) return null;
  const offset = alignDown(window.size, RESERVED) - RESERVED;
  const raw = await readExactly(window, offset, 4096);
  if (!raw) return null;
  const little = LITTLE.decode(raw);
  const sb = little.magic === MD_MAGIC ? little : BIG.decode(raw);
  if (sb.magic !== MD_MAGIC || sb.major !== 0) return null;
  const used = sb.sizeKiB * 1024;
  if (window.size < used + RESERVED || offset < used || (await insidePartition(window, offset))) return null;
  const uuid = Buffer.alloc(16);
  uuid.writeUInt32BE(sb.uuid0, 0);
  if (sb.minor >= 90) {
    uuid.writeUInt32BE(sb.uuid1, 4);
    uuid.writeUInt32BE(sb.uuid2, 8);
    uuid.writeUInt32BE(sb.uuid3, 12);
  }
  return {
    kind: "md-member",
    type: "linux_raid_member",
    uuid: uuidText(uuid),
    label: null,
    size: null,
    state: null,
    details: {
      version: `${sb.major}.${sb.minor}.${sb.patch}`,
      level: mdLevel(sb.level),
      name: null,
      arrayUuid: uuidText(uuid),
      role: sb.role,
      members: sb.raidDisks,
      usedSize: used,
    },
    findings: [],
  };
}

/**
 * The superblock of a disk's last partition can lie where the disk's own would be. An MBR that has a partition over
 * that place tells them apart: an array's own MBR ends before the superblock (blkid_probe_is_covered_by_pt in libblkid).
 */
async function insidePartition(window: ProbeWindow, offset: number): Promise<boolean> {
  const sector = await readExactly(window, 0, 512);
  if (!sector) return false;
  const dv = view(sector);
  if (dv.getUint16(510, true) !== 0xaa55) return false;
  return [446, 462, 478, 494].some((at) => {
    const start = dv.getUint32(at + 8, true) * window.sectorSize;
    const length = dv.getUint32(at + 12, true) * window.sectorSize;
    return sector[at + 4] !== 0 && start > 0 && start <= offset && offset < start + length;
  });
}
