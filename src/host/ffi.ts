import { constants } from "node:os";
import { StorageError } from "../core/errors.ts";
import { koffi, type NativeFunction } from "../ffi/koffi.ts";

export type { NativeFunction } from "../ffi/koffi.ts";

export interface Ffi {
  readonly libc: { func(prototype: string): NativeFunction };
  /** errno of the last native call on this thread. */
  errno(): number;
}

let loaded: Ffi | undefined;

/**
 * The C library of this process, loaded at the first call: most commands never need it.
 * Throws `unsupported` where the package koffi has no binary for this machine.
 */
export function libc(): Ffi {
  if (loaded) return loaded;
  try {
    const native = koffi();
    loaded = { libc: native.load(null), errno: () => native.errno() };
    return loaded;
  } catch (error) {
    throw new StorageError("unsupported", `system calls cannot be made from this Node on ${process.arch}`, {
      feature: "koffi",
      hint: "reinstall without --omit=optional: npm must be able to install the package koffi",
      cause: error,
    });
  }
}

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
// EWOULDBLOCK has the same number; fcntl(2) speaks of EAGAIN.
NAMES.set(constants.errno.EAGAIN, "EAGAIN");

/** `EPERM` for 1; `errno 4242` for what this system has no name for. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** An `io` error for a native call that just failed, with the errno's name as its detail. */
export function systemError(what: string, errno: number, hint?: string): StorageError {
  const cause = Object.assign(new Error(`${errnoName(errno)}: ${what}`), { code: errnoName(errno), errno });
  return new StorageError("io", `${what}: ${errnoName(errno)}`, { hint, cause });
}
