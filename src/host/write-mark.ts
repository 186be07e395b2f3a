import { readFileSync, statSync } from "node:fs";

/** Sectors written, of the fields of Documentation/block/stat.rst. */
const WRITTEN = 6;

/** Changes whenever something writes to a file or block device; null: the kernel does not tell. What is in memory only has not been written to a device yet. */
export function writeMark(path: string): string | null {
  const stat = statSync(path, { bigint: true });
  if (!stat.isBlockDevice()) return `${stat.mtimeNs} ${stat.size}`;
  const rdev = Number(stat.rdev);
  // The C library's gnu_dev_major and gnu_dev_minor for numbers below 2^32.
  const number = `${Math.floor(rdev / 256) % 4096}:${(rdev % 256) + Math.floor(rdev / 2 ** 20) * 256}`;
  try {
    return readFileSync(`/sys/dev/block/${number}/stat`, "utf8").trim().split(/\s+/)[WRITTEN] ?? null;
  } catch {
    return null;
  }
}
