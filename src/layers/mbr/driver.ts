import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Layer, LayerChild, LayerDriver, OpenContext, ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { slice } from "../../core/slice.ts";
import { hasOwnSuperblock, isForeignBootSector, RECOGNITION_WINDOW } from "./boot-sector.ts";
import { readExtendedChain, type SectorReader } from "./extended.ts";
import {
  BOOT_RECORD_SIZE,
  type BootRecord,
  decodeBootRecord,
  type Entry,
  hasValidIndicators,
  isBootable,
  isExtended,
  isProtective,
  isUsed,
} from "./table.ts";
import { typeName, typeText } from "./types.ts";
import { chooseUnit } from "./units.ts";

const LAYER = "mbr";
const HIT: ProbeHit = { setId: null, role: null, member: null };
/** Logical partitions are numbered from here, also when fewer primary ones are used. */
const FIRST_LOGICAL = 5;

/** Partition tables in the master boot record, with logical partitions (UEFI 2.10, 5.2; Linux block/partitions/msdos.c). */
export const mbrDriver: LayerDriver = { name: "mbr", probe, open };

async function probe(window: ProbeWindow): Promise<ProbeHit | null> {
  const sector = await window.read(0, BOOT_RECORD_SIZE);
  const record = decodeBootRecord(sector);
  if (!record || !hasValidIndicators(record) || isForeignBootSector(sector)) return null;
  if (record.entries.some(isProtective)) return (await hasGptHeader(window)) ? null : HIT;
  const used = record.entries.filter(isUsed);
  if (used.length === 0) {
    // A boot loader before a file system or a physical volume also leaves 55 AA and four empty records.
    return hasOwnSuperblock(await window.read(0, RECOGNITION_WINDOW)) ? null : HIT;
  }
  // A real table has at least one partition that begins on the disk, after the table.
  return used.some((e) => e.start > 0 && e.start * 512 < window.size) || used.some(isWholeDisk(window.size))
    ? HIT
    : null;
}

/** isohybrid images have one partition that starts at sector 0 and covers the image. */
function isWholeDisk(size: number): (e: Entry) => boolean {
  return (e) => e.start === 0 && e.sectors * 512 <= size && isBootable(e);
}

async function hasGptHeader(window: ProbeWindow): Promise<boolean> {
  for (const unit of [512, 4096]) {
    for (const at of [unit, Math.max(0, Math.floor(window.size / unit) - 1) * unit]) {
      if (Buffer.from(await window.read(at, 8)).toString("latin1") === "EFI PART") return true;
    }
  }
  return false;
}

async function open(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const device = members[0]!;
  const read: SectorReader = (offset, length) =>
    readBytes(device, offset, Math.max(0, Math.min(length, device.size - offset)), { signal: context.signal });
  const record = decodeBootRecord(await read(0, BOOT_RECORD_SIZE));
  if (!record) throw new StorageError("corrupt", "the boot signature 55 AA is missing", { layer: LAYER, offset: 510 });

  const unit = await chooseUnit(record, device.caps.sectorSize, device.size, read);
  const { rows, findings } = await listPartitions(record, unit.sectorSize, read, context);
  if (unit.guessed) {
    findings.push({
      severity: "warning",
      code: "mbr-sector-size-guessed",
      message: "nothing on the disk shows whether the partition table counts in 512 or 4096 bytes: 512 is assumed",
      layer: LAYER,
    });
  }
  if (record.entries.some(isProtective)) {
    findings.push({
      severity: "error",
      code: "mbr-protective-without-gpt",
      message: "the table only protects a GPT, but neither of its two headers is there",
      layer: LAYER,
    });
  }
  findings.push(...overlaps(rows));
  const id = `0x${record.diskId.toString(16).padStart(8, "0")}`;
  return {
    info: { kind: "mbr", details: { id, sectorSize: unit.sectorSize }, findings },
    locked: null,
    children: rows.map((row) => partition(device, row, record.diskId, unit.sectorSize)),
    async [Symbol.asyncDispose]() {},
  };
}

interface Row {
  readonly number: number;
  readonly entry: Entry;
  /** First sector from the start of the disk. */
  readonly start: number;
}

async function listPartitions(
  record: BootRecord,
  sectorSize: number,
  read: SectorReader,
  context: OpenContext,
): Promise<{ rows: Row[]; findings: Finding[] }> {
  const rows: Row[] = [];
  const findings: Finding[] = [];
  for (const [i, entry] of record.entries.entries()) {
    if (isUsed(entry)) rows.push({ number: i + 1, entry, start: entry.start });
  }
  let next = FIRST_LOGICAL;
  for (const entry of record.entries.filter((e) => isUsed(e) && isExtended(e))) {
    const room = context.limits.logicalPartitions - (next - FIRST_LOGICAL);
    const chain = await readExtendedChain(read, entry, sectorSize, room);
    findings.push(...chain.findings);
    for (const l of chain.logical) rows.push({ number: next++, entry: l.entry, start: l.start });
  }
  return { rows, findings };
}

/** Partitions that share sectors; logical ones lie in their extended partition by design. */
function overlaps(rows: readonly Row[]): Finding[] {
  const sorted = rows.filter((r) => !isExtended(r.entry)).sort((a, b) => a.start - b.start);
  const findings: Finding[] = [];
  let last: Row | null = null;
  for (const row of sorted) {
    if (last && row.start < last.start + last.entry.sectors) {
      findings.push({
        severity: "warning",
        code: "mbr-overlap",
        message: `partitions ${last.number} and ${row.number} share sectors`,
        layer: LAYER,
      });
    }
    if (!last || row.start + row.entry.sectors > last.start + last.entry.sectors) last = row;
  }
  return findings;
}

function partition(device: BlockDevice, row: Row, diskId: number, sectorSize: number): LayerChild {
  const { entry, number, start } = row;
  const offset = start * sectorSize;
  const size = entry.sectors * sectorSize;
  const unavailable = offset + size > device.size ? `partition ${number} reaches beyond the end of the disk` : null;
  const findings: Finding[] = unavailable
    ? [{ severity: "error", code: "mbr-partition-outside", message: unavailable, layer: LAYER, offset }]
    : [];
  const partuuid = `${diskId.toString(16).padStart(8, "0")}-${number.toString(16).padStart(2, "0")}`;
  return {
    name: `p${number}`,
    info: {
      kind: "partition",
      details: {
        number,
        type: typeText(entry.type),
        typeName: typeName(entry.type),
        bootable: isBootable(entry),
        start,
        sectors: entry.sectors,
        sectorSize,
        partuuid,
      },
      findings,
    },
    offset,
    size,
    unavailable,
    // A partition from sector 0 holds its own table: looking into it would never end.
    hasContent: !isExtended(entry) && !isProtective(entry) && start > 0,
    async open() {
      if (unavailable) throw new StorageError("corrupt", unavailable, { layer: LAYER, offset });
      return slice(device, offset, size, LAYER);
    },
  };
}
