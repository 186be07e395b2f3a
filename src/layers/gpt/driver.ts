import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Layer, LayerChild, LayerDriver, OpenContext, ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { slice } from "../../core/slice.ts";
import { type BlockReader, candidateUnits, loadTables, type Tables } from "./load.ts";
import { type GptEntry, hasSignature } from "./table.ts";
import { typeName } from "./types.ts";
import { copyFindings, entryFindings, unavailableReason } from "./validate.ts";

const LAYER = "gpt";
/** Attribute bit 2: Legacy BIOS Bootable (UEFI 2.10, table 5.8). */
const LEGACY_BOOTABLE = 0x4n;

/** GUID partition tables (UEFI 2.10, 5.3). The protective MBR is required, as Linux, libblkid and the firmware have it. */
export const gptDriver: LayerDriver = { name: "gpt", probe, open };

async function probe(window: ProbeWindow): Promise<ProbeHit | null> {
  const sector = await window.read(0, 512);
  if (protectiveMbr(sector) === null) return null;
  for (const unit of candidateUnits(window.sectorSize)) {
    const last = Math.max(1, Math.floor(window.size / unit) - 1);
    for (const lba of [1, last]) {
      if (hasSignature(await window.read(lba * unit, 8))) return { setId: null, role: null, member: null };
    }
  }
  return null;
}

/** Null: no protective MBR. Else how many other partitions the MBR has (a hybrid MBR has some). */
function protectiveMbr(sector: Uint8Array): number | null {
  if (sector.length < 512 || sector[510] !== 0x55 || sector[511] !== 0xaa) return null;
  const types = [0, 1, 2, 3].map((i) => sector[446 + i * 16 + 4]!);
  // OSType 0xee (UEFI 2.10, 5.2.3).
  return types.includes(0xee) ? types.filter((t) => t !== 0 && t !== 0xee).length : null;
}

async function open(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const device = members[0]!;
  const read: BlockReader = (offset, length) =>
    readBytes(device, offset, Math.max(0, Math.min(length, device.size - offset)), { signal: context.signal });
  const tables = await chooseTables(read, device, context.limits.gptEntryBytes);
  const used = tables.primary.usable ? tables.primary : tables.backup;
  if (!used.usable) throw damaged(tables);

  const findings = [...copyFindings(tables, used, device.size), ...entryFindings(used.entries, used.header)];
  const others = protectiveMbr(await read(0, 512));
  if (others) {
    findings.push({
      severity: "info",
      code: "gpt-hybrid-mbr",
      message: `the MBR has ${others} more partition${others === 1 ? "" : "s"} than the protective one: the GPT counts`,
      layer: LAYER,
    });
  }
  return {
    info: {
      kind: "gpt",
      details: {
        guid: used.header.diskGuid,
        sectorSize: tables.unit,
        usedTable: used === tables.primary ? "primary" : "backup",
      },
      findings,
    },
    locked: null,
    children: used.entries.map((entry) => partition(device, entry, tables.unit)),
    async [Symbol.asyncDispose]() {},
  };
}

/** The block size whose table verifies: first any intact primary, then any intact backup. */
async function chooseTables(read: BlockReader, device: BlockDevice, maxEntryBytes: number): Promise<Tables> {
  const all: Tables[] = [];
  for (const unit of candidateUnits(device.caps.sectorSize)) {
    const tables = await loadTables(read, device.size, unit, maxEntryBytes);
    if (tables.primary.usable) return tables;
    all.push(tables);
  }
  const signed = (t: Tables) => !t.primary.usable && t.primary.signed;
  return all.find((t) => t.backup.usable) ?? all.find(signed) ?? all[0]!;
}

function damaged({ primary, backup, unit }: Tables): StorageError {
  const reasons = [primary, backup].map((copy) => (copy.usable ? "" : copy.reason));
  return new StorageError("corrupt", `neither GPT can be used: the first: ${reasons[0]}; the backup: ${reasons[1]}`, {
    layer: LAYER,
    offset: unit,
    hint: "gdisk or testdisk on a copy of the disk may rebuild the table",
  });
}

function partition(device: BlockDevice, entry: GptEntry, unit: number): LayerChild {
  const unavailable = unavailableReason(entry, unit, device.size);
  const start = Number(entry.firstLba);
  const sectors = unavailable && entry.lastLba < entry.firstLba ? 0 : Number(entry.lastLba - entry.firstLba + 1n);
  const offset = start * unit;
  const size = sectors * unit;
  const addressable = Number.isSafeInteger(offset) && Number.isSafeInteger(size);
  const findings: Finding[] = unavailable
    ? [{ severity: "error", code: "gpt-partition-unavailable", message: unavailable, layer: LAYER }]
    : [];
  return {
    name: `p${entry.number}`,
    info: {
      kind: "partition",
      details: {
        number: entry.number,
        type: entry.typeGuid,
        typeName: typeName(entry.typeGuid),
        partuuid: entry.guid,
        name: entry.name,
        attributes: `0x${entry.attributes.toString(16)}`,
        start,
        sectors,
        sectorSize: unit,
        bootable: (entry.attributes & LEGACY_BOOTABLE) !== 0n,
      },
      findings,
    },
    offset: addressable ? offset : null,
    size: addressable ? size : 0,
    unavailable,
    hasContent: true,
    async open() {
      if (unavailable) throw new StorageError("corrupt", unavailable, { layer: LAYER });
      return slice(device, offset, size, LAYER);
    },
  };
}
