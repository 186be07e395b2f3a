import { libc, type NativeFunction } from "./ffi.ts";

/** fcntl(2) on Linux. */
const F_SETPIPE_SZ = 1031;
/** What an ordinary user may ask for (/proc/sys/fs/pipe-max-size by default). */
const MOST = 1024 * 1024;

let fcntl: NativeFunction | undefined;

/**
 * Lets a pipe hold more than 64 KiB, so that its two ends wake each other less often. What is no pipe, or may not grow, stays as it is.
 */
export function widenPipe(fd: number): void {
  fcntl ??= libc().libc.func("int fcntl(int, int, int)");
  fcntl(fd, F_SETPIPE_SZ, MOST);
}
