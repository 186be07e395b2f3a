import { exactNumber } from "../../bytes/integers.ts";
import { view } from "../../bytes/struct.ts";
import type { MdReader } from "./superblock.ts";

const SECTOR_SIZES = [512, 4096];
/** UEFI's usual entry array; more is not looked at. */
const GPT_ENTRY_BYTES = 128;
const GPT_ENTRIES = 128;

/**
 * A superblock of the disk's last partition can lie where the disk's own would be. A partition table that has a partition over
 * that place tells them apart: an array's own table ends before the superblock (blkid_probe_is_covered_by_pt in libblkid).
 */
export async function insidePartition(read: MdReader, offset: number): Promise<boolean> {
  const boot = await read(0, 512);
  if (boot.length < 512) return false;
  const dv = view(boot);
  if (dv.getUint16(510, true) !== 0xaa55) return false;
  const inMbr = [446, 462, 478, 494].some((at) => {
    const type = boot[at + 4]!;
    // A protective entry says nothing about partitions.
    if (type === 0 || type === 0xee) return false;
    const start = dv.getUint32(at + 8, true);
    const length = dv.getUint32(at + 12, true);
    return start > 0 && covers(start, start + length, offset, 512);
  });
  if (inMbr) return true;
  for (const sectorSize of SECTOR_SIZES) if (await inGpt(read, offset, sectorSize)) return true;
  return false;
}

async function inGpt(read: MdReader, offset: number, sectorSize: number): Promise<boolean> {
  const header = await read(sectorSize, 512);
  if (header.length < 512 || Buffer.from(header.subarray(0, 8)).toString("latin1") !== "EFI PART") return false;
  const entriesAt = exactNumber(view(header).getBigUint64(72, true) * BigInt(sectorSize));
  if (entriesAt === null || view(header).getUint32(84, true) !== GPT_ENTRY_BYTES) return false;
  const entries = await read(entriesAt, GPT_ENTRIES * GPT_ENTRY_BYTES);
  const dv = view(entries);
  for (let at = 0; at + GPT_ENTRY_BYTES <= entries.length; at += GPT_ENTRY_BYTES) {
    const first = exactNumber(dv.getBigUint64(at + 32, true));
    const last = exactNumber(dv.getBigUint64(at + 40, true));
    if (first && last && covers(first, last + 1, offset, sectorSize)) return true;
  }
  return false;
}

function covers(start: number, end: number, offset: number, sectorSize: number): boolean {
  return start * sectorSize <= offset && offset < end * sectorSize;
}
