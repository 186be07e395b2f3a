import { StorageError } from "../core/errors.ts";
import { describeHolders } from "./culprit.ts";
import { errnoName, libc, type NativeFunction, systemError } from "./ffi.ts";

/** fcntl(2): locks that belong to the open file description, so closing another descriptor of the file keeps them. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** As l_len: all bytes from there, however far the file grows. */
const TO_THE_END = 0;

/** QEMU block/file-posix.c: byte `PERM_BASE + n` is locked by who uses permission n, `SHARED_BASE + n` by who denies it to others. */
const PERM_BASE = 100;
const SHARED_BASE = 200;
/** QEMU include/block/block-common.h, BLK_PERM_*; the numbers are bit numbers. */
const CONSISTENT_READ = 0;
const WRITE = 1;
const WRITE_UNCHANGED = 2;
const RESIZE = 3;
const PERMISSIONS = [
  { bit: CONSISTENT_READ, name: "consistent read" },
  { bit: WRITE, name: "write" },
  { bit: WRITE_UNCHANGED, name: "write unchanged" },
  { bit: RESIZE, name: "resize" },
] as const;

export type LockMode = "read" | "write";

const USES: Record<LockMode, readonly number[]> = {
  read: [CONSISTENT_READ],
  write: [CONSISTENT_READ, WRITE, RESIZE],
};
const DENIES: Record<LockMode, readonly number[]> = {
  // As QEMU opens an image to read it: while it is read, nobody may change it.
  read: [WRITE, RESIZE],
  write: [WRITE, WRITE_UNCHANGED, RESIZE],
};

export interface SourceLock {
  readonly mode: LockMode;
  /** False where the file system knows no such locks (only `read` goes on then). */
  readonly held: boolean;
  /** Gives the lock back. Closing the descriptor does it too. */
  release(): void;
}

/**
 * Locks an open image or block device as QEMU would, so that QEMU does not start a guest on it meanwhile, and so that we are
 * refused while a guest runs. `read`: others may read. `write`: nobody else may write, nor read in the way QEMU does.
 * The lock lasts until `release()` or until `fd` is closed. Throws `locked`, naming who has it where that can be found.
 */
export function lockSource(fd: number, path: string, mode: LockMode): SourceLock {
  const mine = [...USES[mode].map((bit) => PERM_BASE + bit), ...DENIES[mode].map((bit) => SHARED_BASE + bit)];
  const release = () => {
    for (const offset of mine) setLock(fd, F_UNLCK, offset);
  };
  for (const offset of mine) {
    const errno = setLock(fd, F_RDLCK, offset);
    if (errno === null) continue;
    release();
    const name = errnoName(errno);
    // Somebody holds the whole file exclusively, which QEMU never does.
    if (name === "EAGAIN" || name === "EACCES") throw refused(path, mode, "exclusive");
    if (mode === "read" && (name === "ENOLCK" || name === "EINVAL" || name === "EOPNOTSUPP" || name === "ENOSYS")) {
      return { mode, held: false, release: () => undefined };
    }
    throw systemError(
      `cannot lock ${path}`,
      errno,
      "writing without a lock could meet a running guest: put the image on a file system that has file locks",
    );
  }
  // First take, then look, as QEMU does: of two that start together at least one sees the other.
  for (const { bit, name } of PERMISSIONS) {
    const clash =
      (DENIES[mode].includes(bit) && lockedByOthers(fd, PERM_BASE + bit)) ||
      (USES[mode].includes(bit) && lockedByOthers(fd, SHARED_BASE + bit));
    if (clash) {
      release();
      throw refused(path, mode, name);
    }
  }
  return { mode, held: true, release };
}

function refused(path: string, mode: LockMode, permission: string): StorageError {
  const holders = describeHolders(path);
  const who = holders.length > 0 ? holders.join(", ") : "another program";
  return new StorageError(
    "locked",
    `${path} is in use by ${who}: its "${permission}" lock excludes ${mode === "write" ? "writing" : "reading"}`,
    {
      layer: "file",
      hint: "shut the guest down (virsh shutdown NAME) or end the program that has the image open, then repeat",
    },
  );
}

let fcntl: NativeFunction | undefined;

function call(fd: number, command: number, lock: Uint8Array): number | null {
  // The variadic third argument is a pointer in every use here, and passed as an ordinary one on Linux' ABIs.
  fcntl ??= libc().libc.func("int fcntl(int, int, void *)");
  return Number(fcntl(fd, command, lock)) === 0 ? null : libc().errno();
}

/** struct flock of 64-bit Linux: l_type i16 at 0, l_whence i16 at 2, l_start i64 at 8, l_len i64 at 16, l_pid i32 at 24 (must be 0). */
function flock(type: number, offset: number, length = 1): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(offset), true);
  view.setBigInt64(16, BigInt(length), true);
  return bytes;
}

/** errno, or null when it worked. */
function setLock(fd: number, type: number, offset: number): number | null {
  return call(fd, F_OFD_SETLK, flock(type, offset));
}

/** Locks a file that is ours alone, until it is closed; false when another open file description has it. */
export function lockExclusively(fd: number): boolean {
  const errno = call(fd, F_OFD_SETLK, flock(F_WRLCK, 0));
  if (errno === null) return true;
  const name = errnoName(errno);
  if (name === "EAGAIN" || name === "EACCES") return false;
  throw systemError("cannot lock", errno);
}

/** True: no other open file description has a lock anywhere on the file. False: one has, or nobody can tell. */
export function isUnlocked(fd: number): boolean {
  const lock = flock(F_WRLCK, 0, TO_THE_END);
  return call(fd, F_OFD_GETLK, lock) === null && new DataView(lock.buffer).getInt16(0, true) === F_UNLCK;
}

/** Would an exclusive lock on the byte be refused? Then another open file description has it locked. */
function lockedByOthers(fd: number, offset: number): boolean {
  const lock = flock(F_WRLCK, offset);
  const errno = call(fd, F_OFD_GETLK, lock);
  if (errno !== null) throw systemError("cannot ask for locks", errno);
  return new DataView(lock.buffer).getInt16(0, true) !== F_UNLCK;
}
