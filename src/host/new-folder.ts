import { closeSync, ftruncateSync, writeSync } from "node:fs";
import { ioError, StorageError } from "../core/errors.ts";
import { errnoName, libc, type NativeFunction, systemError } from "./ffi.ts";

/** open(2) and the *at calls, include/uapi/asm-generic/fcntl.h and linux/fcntl.h. */
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
/** The two that differ between machines. */
const ARM = process.arch === "arm" || process.arch === "arm64";
const O_DIRECTORY = ARM ? 0o40000 : 0o200000;
const O_NOFOLLOW = ARM ? 0o100000 : 0o400000;
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

/** Seconds since 1970 and nanoseconds. */
export interface Time {
  readonly seconds: number;
  readonly nanoseconds: number;
}

let calls: Record<string, NativeFunction> | undefined;

function call(name: keyof typeof PROTOTYPES): NativeFunction {
  calls ??= {};
  calls[name] ??= libc().libc.func(PROTOTYPES[name]);
  return calls[name];
}

const PROTOTYPES = {
  openat: "int openat(int, uint8_t *, int, ...)",
  mkdirat: "int mkdirat(int, uint8_t *, unsigned int)",
  symlinkat: "int symlinkat(uint8_t *, int, uint8_t *)",
  linkat: "int linkat(int, uint8_t *, int, uint8_t *, int)",
  mknodat: "int mknodat(int, uint8_t *, unsigned int, uint64_t)",
  fchmodat: "int fchmodat(int, uint8_t *, unsigned int, int)",
  fchownat: "int fchownat(int, uint8_t *, unsigned int, unsigned int, int)",
  utimensat: "int utimensat(int, uint8_t *, void *, int)",
  unlinkat: "int unlinkat(int, uint8_t *, int)",
  fsetxattr: "int fsetxattr(int, uint8_t *, uint8_t *, uint64_t, int)",
} as const;

/** A name that can only mean an entry of the folder itself. Throws `corrupt` for what a path could be made of. */
function entryName(name: Uint8Array): Uint8Array {
  const dots = name.length <= 2 && name.every((byte) => byte === 0x2e);
  if (name.length === 0 || dots || name.includes(0x2f) || name.includes(0))
    throw new StorageError("corrupt", "a name in the volume is none that a file can have; it is left out", {
      layer: "ext",
    });
  return terminated(name);
}

function terminated(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

function failed(what: string): StorageError {
  const errno = libc().errno();
  if (errnoName(errno) === "EEXIST")
    return new StorageError("usage", `${what}: something of that name is there already`, {
      hint: "nothing is overwritten: name a place that is not there yet",
    });
  return hostError(what, errno);
}

/** What this host or its file system does not take in one entry; everything else concerns all of them. */
const REFUSED = ["EILSEQ", "EINVAL", "ENAMETOOLONG", "EFBIG", "EOVERFLOW", "EPERM", "EOPNOTSUPP"];

function hostError(what: string, errno: number): StorageError {
  if (!REFUSED.includes(errnoName(errno))) return systemError(what, errno);
  return new StorageError("unsupported", `${what}: the host refuses it (${errnoName(errno)})`);
}

/**
 * A folder that is held open. Everything is made in it by its bare name and only if nothing of that name is there, and no symbolic
 * link is ever followed: whatever names and links a guest chose, nothing outside is touched.
 */
export class NewFolder implements Disposable {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** An existing folder of the user's own naming; its path is followed as usual. Throws `io`. */
  static existing(path: string): NewFolder {
    return new NewFolder(openAt(AT_FDCWD, terminated(Buffer.from(path)), O_DIRECTORY, `cannot open ${path}`));
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }

  /** Makes a folder (mode 700 until `setMode`) and opens it. */
  makeFolder(name: Uint8Array): NewFolder {
    const entry = entryName(name);
    if (Number(call("mkdirat")(this.fd, entry, 0o700)) !== 0) throw failed("cannot make a folder");
    return this.folder(name);
  }

  /** Opens a folder in this one. */
  folder(name: Uint8Array): NewFolder {
    return new NewFolder(openAt(this.fd, entryName(name), O_DIRECTORY + O_NOFOLLOW, "cannot open a folder"));
  }

  /** Makes an empty file (mode 600 until `setMode`); the caller closes the descriptor. */
  makeFile(name: Uint8Array): number {
    return openAt(this.fd, entryName(name), O_WRONLY + O_CREAT + O_EXCL + O_NOFOLLOW, "cannot make a file", 0o600);
  }

  makeSymlink(name: Uint8Array, target: Uint8Array): void {
    if (target.includes(0)) throw new StorageError("corrupt", "a symbolic link holds a NUL", { layer: "ext" });
    if (Number(call("symlinkat")(terminated(target), this.fd, entryName(name))) !== 0)
      throw failed("cannot make a symbolic link");
  }

  /** A second name for `oldName` in `oldFolder`, which is not followed when it is a link. */
  makeHardLink(name: Uint8Array, oldFolder: NewFolder, oldName: Uint8Array): void {
    if (Number(call("linkat")(oldFolder.fd, entryName(oldName), this.fd, entryName(name), 0)) !== 0)
      throw failed("cannot make a hard link");
  }

  /** A device, fifo or socket; `mode` with the type's bits. */
  makeNode(name: Uint8Array, mode: number, major: number, minor: number): void {
    // makedev(3) of the GNU C library.
    const number = BigInt(minor % 256) + BigInt(major % 4096) * 2n ** 8n + BigInt(Math.floor(minor / 256)) * 2n ** 20n;
    if (Number(call("mknodat")(this.fd, entryName(name), mode, number)) !== 0)
      throw failed("cannot make a device, fifo or socket");
  }

  /** Takes back a file that was made here, as far as that is possible. */
  removeFile(name: Uint8Array): void {
    call("unlinkat")(this.fd, entryName(name), 0);
  }

  /** The entry itself, also when it is a symbolic link. */
  setOwner(name: Uint8Array, uid: number, gid: number): void {
    if (Number(call("fchownat")(this.fd, entryName(name), uid, gid, AT_SYMLINK_NOFOLLOW)) !== 0)
      throw hostError("cannot set the owner", libc().errno());
  }

  /** Not for symbolic links, which have no mode: whoever calls this has made the entry and knows what it is. */
  setMode(name: Uint8Array, mode: number): void {
    if (Number(call("fchmodat")(this.fd, entryName(name), mode, 0)) !== 0)
      throw hostError("cannot set the mode", libc().errno());
  }

  /** Access and modification time of the entry itself. */
  setTimes(name: Uint8Array, atime: Time, mtime: Time): void {
    // struct timespec[2] of 64-bit Linux.
    const times = new Uint8Array(32);
    const dv = new DataView(times.buffer);
    for (const [i, time] of [atime, mtime].entries()) {
      dv.setBigInt64(i * 16, BigInt(time.seconds), true);
      dv.setBigInt64(i * 16 + 8, BigInt(time.nanoseconds), true);
    }
    if (Number(call("utimensat")(this.fd, entryName(name), times, AT_SYMLINK_NOFOLLOW)) !== 0)
      throw hostError("cannot set the times", libc().errno());
  }
}

function openAt(fd: number, name: Uint8Array, flags: number, what: string, mode = 0): number {
  const opened = Number(call("openat")(fd, name, flags + O_CLOEXEC, "unsigned int" as never, mode));
  if (opened < 0) throw failed(what);
  return opened;
}

/** Sets an extended attribute of an open file; false when the system or the file system refuses it. */
export function setAttribute(fd: number, name: string, value: Uint8Array): boolean {
  const bytes = value.length === 0 ? new Uint8Array(1) : value;
  return Number(call("fsetxattr")(fd, terminated(Buffer.from(name, "latin1")), bytes, value.length, 0)) === 0;
}

/** Writes all of `bytes` at `offset`. Throws `io`. */
export function writeAll(fd: number, bytes: Uint8Array, offset: number): void {
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
  } catch (error) {
    const full = (error as NodeJS.ErrnoException).code === "ENOSPC";
    throw ioError(error, "cannot write to the destination", {
      hint: full ? "the file system that it is on is full: free space there, or name another place" : undefined,
    });
  }
}

/** Sets the size of a new file; what was not written is a hole. Throws `unsupported` for a size that the host's file system cannot hold. */
export function setSize(fd: number, size: number): void {
  try {
    ftruncateSync(fd, size);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined && REFUSED.includes(code))
      throw new StorageError("unsupported", `the destination takes no file of ${size} bytes (${code})`);
    throw ioError(error, "cannot set the size of the copy");
  }
}
