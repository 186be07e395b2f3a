import { errnoName, libc, type NativeFunction, systemError } from "./ffi.ts";

/** include/uapi/linux/fs.h: two u64, start and length. */
const BLKDISCARD = 0x1277;
/** posix_fadvise(2); the number is another only on s390, where Node does not run any more. */
const POSIX_FADV_DONTNEED = 4;
const LARGE = process.arch === "arm" || process.arch === "ia32" ? "64" : "";

let ioctl: NativeFunction | undefined;
let advise: NativeFunction | undefined;

/** Tells a block device that nobody wants these bytes any more. False: it takes no discards. Throws `io`. */
export function discardBlocks(fd: number, offset: number, length: number): boolean {
  ioctl ??= libc().libc.func("int ioctl(int, unsigned long, void *)");
  const range = new Uint8Array(16);
  const view = new DataView(range.buffer);
  view.setBigUint64(0, BigInt(offset), true);
  view.setBigUint64(8, BigInt(length), true);
  if (Number(ioctl(fd, BLKDISCARD, range)) === 0) return true;
  const errno = libc().errno();
  const name = errnoName(errno);
  if (name === "EOPNOTSUPP" || name === "ENOTSUP" || name === "ENOTTY") return false;
  throw systemError("cannot discard", errno);
}

/** Has the kernel forget what it keeps of a file or device in memory, so that what is read next comes from the medium. What is dirty stays. */
export function dropCache(fd: number, offset: number, length: number): void {
  advise ??= libc().libc.func(`int posix_fadvise${LARGE}(int, int64_t, int64_t, int)`);
  advise(fd, offset, length, POSIX_FADV_DONTNEED);
}
