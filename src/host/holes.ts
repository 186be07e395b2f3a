import type { HoleFinder } from "../core/file-device.ts";
import { errnoName, libc, type NativeFunction, systemError } from "./ffi.ts";

/** lseek(2). */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** fallocate(2), include/uapi/linux/falloc.h. */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** On 32-bit systems only these names take a 64-bit offset; on 64-bit ones not every C library has them. */
const LARGE = process.arch === "arm" || process.arch === "ia32" ? "64" : "";

let seek: NativeFunction | undefined;
let allocate: NativeFunction | undefined;

function lseek(fd: number, offset: number, whence: number): number {
  seek ??= libc().libc.func(`int64_t lseek${LARGE}(int, int64_t, int)`);
  return Number(seek(fd, offset, whence));
}

/** lseek(2) SEEK_DATA and SEEK_HOLE. Moves the descriptor's file position, which positioned reads and writes do not use. */
export function systemHoles(): HoleFinder {
  return {
    nextData(fd, offset) {
      const at = lseek(fd, offset, SEEK_DATA);
      if (at >= 0) return at;
      // ENXIO: no data from here to the end of the file.
      const errno = libc().errno();
      if (errnoName(errno) === "ENXIO") return null;
      throw systemError("cannot look for data", errno);
    },
    nextHole(fd, offset) {
      const at = lseek(fd, offset, SEEK_HOLE);
      if (at >= 0) return at;
      throw systemError("cannot look for a hole", libc().errno());
    },
  };
}

/**
 * Gives the range's space back to the file system; it then reads as zeros. The file's size stays.
 * False when the file system cannot (EOPNOTSUPP): the range is unchanged then.
 */
export function punchHole(fd: number, offset: number, length: number): boolean {
  allocate ??= libc().libc.func(`int fallocate${LARGE}(int, int, int64_t, int64_t)`);
  if (Number(allocate(fd, FALLOC_FL_KEEP_SIZE + FALLOC_FL_PUNCH_HOLE, offset, length)) === 0) return true;
  const errno = libc().errno();
  const name = errnoName(errno);
  if (name === "EOPNOTSUPP" || name === "ENOTSUP" || name === "ENOSYS") return false;
  throw systemError("cannot punch a hole", errno);
}
