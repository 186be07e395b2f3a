/** MD_SB_MAGIC (Linux, include/uapi/linux/raid/md_p.h). */
export const MD_MAGIC = 0xa92b4efc;

/** LEVEL_* in md_p.h and md.h, in mdadm's words. */
export function mdLevel(level: number): string {
  if (level === -1) return "linear";
  if (level === -4) return "multipath";
  return [0, 1, 4, 5, 6, 10].includes(level) ? `raid${level}` : `unknown (${level})`;
}
