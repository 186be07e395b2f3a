import { alignDown } from "../../bytes/integers.ts";
import type { Finding } from "../../core/finding.ts";
import type { NodeInfo } from "../../core/layer.ts";
import { RangeSet } from "../../core/range-set.ts";
import { layoutName, levelName } from "./names.ts";
import { type MdReader, type MdResult, type MdSuperblock, SECTOR } from "./superblock.ts";
import { readSuperblock1, SUPERBLOCK_1_BYTES } from "./superblock-1.ts";
import { readSuperblock090 } from "./superblock-090.ts";

/** The four places where metadata can lie, in libblkid's order. A sound superblock counts before a damaged one. */
export async function readMember(read: MdReader, size: number): Promise<MdResult> {
  const results = [
    await readSuperblock090(read, size),
    await readSuperblock1(read, alignDown(size, 4096) - 8192, "1.0", size),
    await readSuperblock1(read, 0, "1.1", size),
    await readSuperblock1(read, SUPERBLOCK_1_BYTES, "1.2", size),
  ];
  return results.find((r) => r.kind === "member") ?? results.find((r) => r.kind === "damaged") ?? { kind: "absent" };
}

/** What the tree shows in place of the device. */
export function memberInfo(sb: MdSuperblock, findings: readonly Finding[]): NodeInfo {
  return {
    kind: "md-member",
    details: {
      type: "linux_raid_member",
      uuid: sb.uuid,
      label: sb.name,
      version: sb.version,
      level: levelName(sb.level),
      layout: sb.layout === null ? null : layoutName(sb.level, sb.layout),
      name: sb.name,
      arrayUuid: sb.uuid,
      deviceUuid: sb.deviceUuid,
      role: sb.role,
      members: sb.raidDisks,
      chunkSize: sb.chunk,
      dataOffset: sb.dataOffset,
      dataSize: sb.dataSize,
      /** Bytes that each member gives to the array. */
      usedSize: sb.usedSize,
      events: Number(sb.events),
      inSync: sb.syncedTo === null,
    },
    findings,
  };
}

/** Where this member's data area must not be read: its log of bad blocks, and what is not rebuilt yet. Null: nowhere. */
export async function staleRanges(read: MdReader, sb: MdSuperblock): Promise<RangeSet | null> {
  const stale = new RangeSet();
  if (sb.recoveredTo !== null) stale.add(sb.recoveredTo, Math.max(0, sb.dataSize - sb.recoveredTo));
  if (sb.badBlockLog) {
    const { at, sectors, shift } = sb.badBlockLog;
    const log = await read(at, sectors * SECTOR);
    const dv = new DataView(log.buffer, log.byteOffset, log.byteLength);
    for (let i = 0; i + 8 <= log.length; i += 8) {
      const entry = dv.getBigUint64(i, true);
      if (entry === 0xffff_ffff_ffff_ffffn) break;
      // 54 bits of sector, 10 of count, both in units of 2^shift sectors; counted from the device's start, not the data's (is_badblock in md.h).
      const unit = SECTOR * 2 ** Math.min(shift, 32);
      const start = Number(entry >> 10n) * unit - sb.dataOffset;
      const length = Number(entry & 0x3ffn) * unit;
      const from = Math.max(0, start);
      const to = Math.min(sb.dataSize, start + length);
      if (to > from) stale.add(from, to - from);
    }
  }
  return stale.count > 0 ? stale : null;
}
