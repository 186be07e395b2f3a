import { libc, type NativeFunction } from "./ffi.ts";

/** utimensat(2): leave this time as it is. */
const UTIME_OMIT = 2n ** 30n - 2n;
const SECOND = 1_000_000_000n;

let futimens: NativeFunction | undefined;

/**
 * Sets a file's modification time to the nanosecond, which Node's own `futimes` (seconds as a double) cannot. A source that was taken
 * back byte for byte gets its old time back, so that an earlier run on it still sees it as untouched.
 * 0n (block devices) and a refusal by the system (only the owner may) change nothing.
 */
export function setModifiedTime(fd: number, mtimeNs: bigint): void {
  if (mtimeNs === 0n) return;
  futimens ??= libc().libc.func("int futimens(int, void *)");
  // struct timespec[2] of 64-bit Linux: access time, modification time; each tv_sec i64, tv_nsec i64.
  const times = new Uint8Array(32);
  const view = new DataView(times.buffer);
  view.setBigInt64(8, UTIME_OMIT, true);
  view.setBigInt64(16, mtimeNs / SECOND, true);
  view.setBigInt64(24, mtimeNs % SECOND, true);
  futimens(fd, times);
}
