import { libc, type NativeFunction } from "./ffi.ts";

/** setsockopt(2) on Linux, on every architecture that Node runs on. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
/** The system doubles it, and gives no more than net.core.wmem_max. */
const WANTED = 1024 * 1024;

let setsockopt: NativeFunction | undefined;

/**
 * Lets a socket hold a whole large reply, so that its sender goes on to the next while the other side takes it: by default that is 208 KiB.
 * Where it may not grow it stays as it is.
 */
export function widenSocket(fd: number): void {
  setsockopt ??= libc().libc.func("int setsockopt(int, int, int, void *, unsigned int)");
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, Int32Array.of(WANTED), 4);
}
