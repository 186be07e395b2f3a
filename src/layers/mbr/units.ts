import { isRecognised, RECOGNITION_WINDOW } from "./boot-sector.ts";
import type { SectorReader } from "./extended.ts";
import { type BootRecord, isUsed } from "./table.ts";

export interface UnitChoice {
  readonly sectorSize: number;
  /** Nothing on the disk proves the choice. */
  readonly guessed: boolean;
}

/**
 * The bytes that one sector of the table's numbers stands for. The table does not say. A device with 512-byte sectors is taken at its
 * word. One with 4096 may be a real 4Kn disk, or LUKS2 with 4096-byte encryption sectors below a guest that saw 512 (QEMU's default), so
 * both are tried: the unit under which more partitions begin with a known signature wins; on a tie, the only one that fits
 * the disk; then 512.
 */
export async function chooseUnit(
  record: BootRecord,
  deviceSector: number,
  size: number,
  read: SectorReader,
): Promise<UnitChoice> {
  if (deviceSector <= 512) return { sectorSize: 512, guessed: false };
  const starts = record.entries.filter(isUsed);
  const score = async (unit: number): Promise<number> => {
    let known = 0;
    for (const e of starts) {
      const at = e.start * unit;
      if (e.start > 0 && at < size && isRecognised(await read(at, RECOGNITION_WINDOW))) known++;
    }
    return known;
  };
  const small = await score(512);
  const large = await score(deviceSector);
  if (small !== large) return { sectorSize: small > large ? 512 : deviceSector, guessed: false };
  if (!fits(record, deviceSector, size)) return { sectorSize: 512, guessed: false };
  return { sectorSize: 512, guessed: starts.length > 0 };
}

/** True when every used record lies on the disk if a sector has `unit` bytes. */
export function fits(record: BootRecord, unit: number, size: number): boolean {
  return record.entries.every((e) => !isUsed(e) || (e.start + e.sectors) * unit <= size);
}
