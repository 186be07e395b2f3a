import { isZero } from "../bytes/integers.ts";
import { uuidText } from "../bytes/uuid.ts";

/** A UUID as blkid writes it, or null when it is all zeros (blkid then prints none). */
export function uuidOrNull(bytes: Uint8Array): string | null {
  return isZero(bytes) ? null : uuidText(bytes);
}

/** The 32-bit serial number of a FAT or exFAT volume, as Windows and blkid print it: `DEAD-BEEF`. */
export function serialText(serial: number): string | null {
  if (serial === 0) return null;
  const hex = serial.toString(16).toUpperCase().padStart(8, "0");
  return `${hex.slice(0, 4)}-${hex.slice(4)}`;
}
