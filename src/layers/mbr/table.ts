import { struct } from "../../bytes/struct.ts";

/** Master and extended boot records are one 512-byte sector whatever the disk's sector size is. */
export const BOOT_RECORD_SIZE = 512;
const ENTRIES_AT = 446;
const ENTRY_COUNT = 4;

const BOOT_RECORD = struct("boot record", "little", {
  diskId: { at: 440, type: "u32", ref: "UEFI 2.10, table 5.1: UniqueMBRDiskSignature" },
  signature: { at: 510, type: "u16", ref: "UEFI 2.10, table 5.1: Signature, 0xaa55" },
});

const ENTRY = struct("partition record", "little", {
  bootIndicator: { at: 0, type: "u8", ref: "UEFI 2.10, table 5.2: BootIndicator" },
  type: { at: 4, type: "u8", ref: "UEFI 2.10, table 5.2: OSType" },
  start: { at: 8, type: "u32", ref: "UEFI 2.10, table 5.2: StartingLBA" },
  sectors: { at: 12, type: "u32", ref: "UEFI 2.10, table 5.2: SizeInLBA" },
});

const SIGNATURE = 0xaa55;
const BOOTABLE = 0x80;
const GPT_PROTECTIVE = 0xee;
/** Extended partitions: CHS, LBA, and the one that only Linux looks into (Linux block/partitions/msdos.c). */
const EXTENDED_TYPES: ReadonlySet<number> = new Set([0x05, 0x0f, 0x85]);

/** One of the four records of a boot record. Units of `start` and `sectors` are logical sectors. */
export interface Entry {
  readonly bootIndicator: number;
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
}

export interface BootRecord {
  readonly diskId: number;
  readonly entries: readonly Entry[];
}

/** Decodes a boot record; null when its signature is not there. Records are not judged. */
export function decodeBootRecord(sector: Uint8Array): BootRecord | null {
  if (sector.length < BOOT_RECORD_SIZE) return null;
  const { diskId, signature } = BOOT_RECORD.decode(sector);
  if (signature !== SIGNATURE) return null;
  const entries = Array.from({ length: ENTRY_COUNT }, (_, i) => ENTRY.decode(sector, ENTRIES_AT + i * 16));
  return { diskId, entries };
}

/** A record without sectors is unused, whatever its type says (as Linux and libblkid have it). */
export function isUsed(entry: Entry): boolean {
  return entry.sectors > 0;
}

export function isExtended(entry: Entry): boolean {
  return EXTENDED_TYPES.has(entry.type);
}

export function isProtective(entry: Entry): boolean {
  return entry.type === GPT_PROTECTIVE;
}

export function isBootable(entry: Entry): boolean {
  return entry.bootIndicator === BOOTABLE;
}

/** Boot code or a file system's boot sector has other bytes than these two where the boot indicators are. */
export function hasValidIndicators(record: BootRecord): boolean {
  return record.entries.every((e) => e.bootIndicator === 0 || e.bootIndicator === BOOTABLE);
}
