import { closeSync, openSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename } from "node:path";
import { StorageError } from "../core/errors.ts";
import { libc, systemError } from "./ffi.ts";

/** include/uapi/linux/fs.h: size of a block device in bytes, as a u64. */
const BLKGETSIZE64 = 0x80081272;
/** sysfs counts every size in units of 512 bytes, whatever the sector size (Documentation/ABI/stable/sysfs-block). */
const SYSFS_UNIT = 512;

/** The device's folder in sysfs, or null when `path` is no block device or sysfs is not there. */
function sysfs(path: string): string | null {
  const stat = statSync(path);
  if (!stat.isBlockDevice()) return null;
  return attempt(() => realpathSync(`/sys/dev/block/${major(stat.rdev)}:${minor(stat.rdev)}`));
}

/** Bytes of a block device or partition. Throws `io` when it cannot be opened and sysfs does not know it. */
export function blockDeviceSize(path: string): number {
  const folder = sysfs(path);
  const blocks = folder && attempt(() => Number(readFileSync(`${folder}/size`, "utf8")));
  if (typeof blocks === "number" && Number.isSafeInteger(blocks)) return blocks * SYSFS_UNIT;
  const fd = openSync(path, "r");
  try {
    const out = new Uint8Array(8);
    if (Number(libc().libc.func("int ioctl(int, unsigned long, void *)")(fd, BLKGETSIZE64, out)) !== 0) {
      throw systemError(`cannot ask for the size of ${path}`, libc().errno());
    }
    return Number(new DataView(out.buffer).getBigUint64(0, true));
  } finally {
    closeSync(fd);
  }
}

/** Logical sector size in bytes (512 or 4096); 512 when sysfs does not tell. */
export function blockDeviceSectorSize(path: string): number {
  const folder = sysfs(path);
  const text =
    folder &&
    (attempt(() => readFileSync(`${folder}/queue/logical_block_size`, "utf8")) ??
      // A partition has no queue of its own.
      attempt(() => readFileSync(`${folder}/../queue/logical_block_size`, "utf8")));
  const size = Number(text);
  return size === 512 || size === 4096 ? size : 512;
}

/**
 * A name of a block device that is the same after the next boot, or null: device mapper's UUID (LVM volumes), a World Wide Name,
 * a loop device's file. The kernel's own numbers are given out anew each time.
 */
export function stableDeviceId(path: string): string | null {
  const folder = sysfs(path);
  if (!folder) return null;
  const partition = attempt(() => readFileSync(`${folder}/partition`, "utf8").trim());
  const disk = partition === null ? folder : `${folder}/..`;
  for (const [kind, file] of [
    ["dm", `${disk}/dm/uuid`],
    ["wwid", `${disk}/wwid`],
    ["wwid", `${disk}/device/wwid`],
    ["serial", `${disk}/serial`],
    ["loop", `${disk}/loop/backing_file`],
  ] as const) {
    const text = attempt(() => readFileSync(file, "utf8").trim());
    if (text) return `${kind}:${text}${partition === null ? "" : `-part${partition}`}`;
  }
  return null;
}

/**
 * Why this host uses the block device or a part of it itself (mounted, swap, held by device mapper or md), or null.
 * A user-space program that merely has it open is not seen here: that is what locks are for.
 */
export function blockDeviceInUse(path: string): string | null {
  const folder = sysfs(path);
  if (!folder) return null;
  const partitions = readdirSync(folder).filter(
    (name) => attempt(() => statSync(`${folder}/${name}/partition`)) !== null,
  );
  for (const part of [folder, ...partitions.map((name) => `${folder}/${name}`)]) {
    const name = basename(part);
    const number = attempt(() => readFileSync(`${part}/dev`, "utf8").trim());
    const holders = attempt(() => readdirSync(`${part}/holders`)) ?? [];
    if (holders.length > 0) {
      const shown = holders.map((h) => attempt(() => readFileSync(`/sys/block/${h}/dm/name`, "utf8").trim()) ?? h);
      return `${name} is held by ${shown.join(", ")}`;
    }
    const mount = mountPoint(number);
    if (mount !== null) return `${name} is mounted on ${mount}`;
    if (isSwap(number)) return `${name} is in use as swap`;
  }
  return null;
}

/** Throws `locked` when the host itself uses the block device. */
export function refuseBlockDeviceInUse(path: string): void {
  const reason = blockDeviceInUse(path);
  if (reason === null) return;
  throw new StorageError("locked", `${path} is in use by this host: ${reason}`, {
    layer: "file",
    hint: "unmount it or end its use first; lsblk shows what stands on it",
  });
}

/**
 * /proc/self/mountinfo (proc_pid_mountinfo(5)): field 3 is the device number, field 5 the mount point, octal escapes for spaces; Btrfs shows
 * a number of its own, so the source after the separator is compared too.
 */
function mountPoint(number: string | null): string | null {
  if (number === null) return null;
  for (const line of (attempt(() => readFileSync("/proc/self/mountinfo", "utf8")) ?? "").split("\n")) {
    const fields = line.split(" ");
    const source = fields[fields.indexOf("-") + 2];
    if (fields[2] === number || (source?.startsWith("/") && numberOf(unescape8(source)) === number)) {
      return unescape8(fields[4] ?? "?");
    }
  }
  return null;
}

function isSwap(number: string | null): boolean {
  const lines = (attempt(() => readFileSync("/proc/swaps", "utf8")) ?? "").split("\n").slice(1);
  return number !== null && lines.some((line) => numberOf(unescape8(line.split(/\s/)[0] ?? "")) === number);
}

function numberOf(path: string): string | null {
  const stat = attempt(() => statSync(path));
  return stat?.isBlockDevice() ? `${major(stat.rdev)}:${minor(stat.rdev)}` : null;
}

function unescape8(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The C library's gnu_dev_major and gnu_dev_minor for numbers below 2^32, which Linux's 12 and 20 bits are. */
function major(rdev: number): number {
  return Math.floor(rdev / 256) % 4096;
}

function minor(rdev: number): number {
  return (rdev % 256) + Math.floor(rdev / 2 ** 20) * 256;
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
