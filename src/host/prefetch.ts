import { libc, type NativeFunction } from "./ffi.ts";

/** posix_fadvise(2); the number is another only on s390, where Node does not run any more. */
const POSIX_FADV_WILLNEED = 3;

/** On 32-bit systems only this name takes 64-bit offsets. */
const LARGE = process.arch === "arm" || process.arch === "ia32" ? "64" : "";

let advise: NativeFunction | undefined;

/** Has the kernel read a file's bytes into the page cache meanwhile. What cannot be read is told by whoever reads it. */
export function systemPrefetch(fd: number, offset: number, length: number): void {
  advise ??= libc().libc.func(`int posix_fadvise${LARGE}(int, int64_t, int64_t, int)`);
  advise(fd, offset, length, POSIX_FADV_WILLNEED);
}
