import { PARITY_ALGORITHMS, type ParityAlgorithm } from "../../raid/geometry.ts";

/** MD_SB_MAGIC (Linux, include/uapi/linux/raid/md_p.h). */
export const MD_MAGIC = 0xa92b4efc;

/** LEVEL_* in md_p.h and md.h, in mdadm's words. */
export function levelName(level: number): string {
  if (level === -1) return "linear";
  if (level === -4) return "multipath";
  return [0, 1, 4, 5, 6, 10].includes(level) ? `raid${level}` : `level ${level}`;
}

/** The layout as `mdadm --examine` writes it; null where the level has none. */
export function layoutName(level: number, layout: number): string | null {
  if (level === 5 || level === 6) return PARITY_ALGORITHMS[layout as ParityAlgorithm] ?? `layout ${layout}`;
  if (level === 0) return layout === 1 ? "original" : layout === 2 ? "alternate" : null;
  if (level !== 10) return null;
  const near = layout & 255;
  const far = (layout >> 8) & 255;
  const parts = [near > 1 ? `near=${near}` : null, far > 1 ? `${layout & 0x10000 ? "offset" : "far"}=${far}` : null];
  return parts.filter((p) => p !== null).join(", ") || "near=1";
}

/** `1a642fbb-0b33-0524-02be-87e948c0aff6` as mdadm writes it: `1a642fbb:0b330524:02be87e9:48c0aff6`. */
export function mdadmUuid(uuid: string): string {
  return uuid.replaceAll("-", "").replace(/(.{8})(?!$)/g, "$1:");
}

/**
 * What the array is called below /dev/md: the name without the host that it belongs to (`host:name`), the preferred minor of metadata 0.90,
 * or, of an array without either, the beginning of its UUID.
 */
export function arrayName(setName: string | null, minor: number | null, uuid: string): string {
  const own = setName?.slice(setName.indexOf(":") + 1) ?? "";
  if (own !== "") return own;
  return minor === null ? uuid.slice(0, 8) : String(minor);
}
