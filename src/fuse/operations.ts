import { constants } from "node:os";
import { exactNumber } from "../bytes/integers.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import * as P from "./protocol.ts";

/** An errno that the kernel hands to the program; nothing is wrong with the device. */
export class Refused extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

const { ENOSYS, EACCES, EFBIG, EPERM, EROFS, EINVAL, ENXIO, EOPNOTSUPP, EIO, ENOSPC } = constants.errno;

/** Seconds; the size never changes and nobody else changes the device, so the kernel need not ask again. */
const ATTRIBUTES_VALID = 86_400n;
const S_IFREG = 0o100000;
const O_ACCMODE = 3;
/** What stat(2) and statfs(2) show; also what programs take as the best size of a request. */
const BLOCK_SIZE = 4096;

/** The file that the kernel sees: a device and whether it may be written. */
export interface ServedFile {
  readonly device: BlockDevice;
  readonly readOnly: boolean;
}

/** The mode of the root; the mount's `rootmode` has to have the same type. */
export function fileMode(readOnly: boolean): number {
  return S_IFREG + (readOnly ? 0o400 : 0o600);
}

export function attributes(file: ServedFile): Uint8Array {
  const out = new Uint8Array(P.ATTR_OUT_SIZE);
  P.attrOut.encode(
    {
      attrValid: ATTRIBUTES_VALID,
      ino: P.ROOT_ID,
      size: BigInt(file.device.size),
      blocks: BigInt(Math.ceil(file.device.size / 512)),
      mode: fileMode(file.readOnly),
      nlink: 1,
      uid: 0,
      gid: 0,
      blksize: BLOCK_SIZE,
    },
    out,
  );
  return out;
}

/** Times, mode and owner are accepted and forgotten (a tool may set them after writing); the size is what it is. */
export function setAttributes(file: ServedFile, body: Uint8Array): Uint8Array {
  const { valid, size } = P.setattrIn.decode(body);
  if ((valid & P.FATTR_SIZE) !== 0 && size !== BigInt(file.device.size)) {
    throw new Refused(size > BigInt(file.device.size) ? EFBIG : EPERM);
  }
  return attributes(file);
}

export function open(file: ServedFile, body: Uint8Array): Uint8Array {
  const { flags } = P.openIn.decode(body);
  // As of a file with mode 0400: fuse2fs then opens it for reading, which it does not do on a read-only file system (EROFS).
  if (file.readOnly && (flags & O_ACCMODE) !== 0) throw new Refused(EACCES);
  const out = new Uint8Array(P.OPEN_OUT_SIZE);
  P.openOut.encode({ fh: 0n, openFlags: P.FOPEN_KEEP_CACHE }, out);
  return out;
}

export function statfs(file: ServedFile): Uint8Array {
  const out = new Uint8Array(P.STATFS_OUT_SIZE);
  P.statfsOut.encode(
    { blocks: BigInt(Math.ceil(file.device.size / BLOCK_SIZE)), bsize: BLOCK_SIZE, frsize: BLOCK_SIZE, namelen: 255 },
    out,
  );
  return out;
}

/** Where a READ lies inside the device: `length` is what there is, zero behind the end. */
export function readRange(file: ServedFile, body: Uint8Array): { offset: number; length: number } {
  const { offset, size } = P.ioIn.decode(body);
  const from = exactNumber(offset);
  if (from === null || from >= file.device.size) return { offset: 0, length: 0 };
  return { offset: from, length: Math.min(size, file.device.size - from) };
}

/** A write that reaches behind the end is refused whole, as a block device would refuse its tail: nothing is cut silently. */
export async function write(file: ServedFile, body: Uint8Array): Promise<Uint8Array> {
  if (file.readOnly) throw new Refused(EROFS);
  const { offset, size } = P.ioIn.decode(body);
  const data = body.subarray(P.WRITE_IN_SIZE, P.WRITE_IN_SIZE + size);
  if (data.length !== size) throw new Refused(EINVAL);
  await file.device.write(data, inside(file, offset, BigInt(size)));
  const out = new Uint8Array(P.WRITE_OUT_SIZE);
  P.writeOut.encode({ size }, out);
  return out;
}

/**
 * Punching a hole promises zeros, which `discard()` does not; so it is `zero()`, and layers give the space back as they can.
 * Plain allocation inside the size has nothing to do.
 */
export async function allocate(file: ServedFile, body: Uint8Array): Promise<void> {
  if (file.readOnly) throw new Refused(EROFS);
  const { offset, length, mode } = P.fallocateIn.decode(body);
  const how = mode & ~P.FALLOC_FL_KEEP_SIZE;
  if (how !== 0 && how !== P.FALLOC_FL_PUNCH_HOLE && how !== P.FALLOC_FL_ZERO_RANGE) throw new Refused(EOPNOTSUPP);
  if (how === 0) {
    if (mode === 0) inside(file, offset, length);
    return;
  }
  const size = BigInt(file.device.size);
  const end = offset + length;
  if (how === P.FALLOC_FL_PUNCH_HOLE || (mode & P.FALLOC_FL_KEEP_SIZE) !== 0) {
    if (offset >= size) return;
    await file.device.zero(Number(offset), Number((end > size ? size : end) - offset));
    return;
  }
  await file.device.zero(inside(file, offset, length), Number(length));
}

/** SEEK_DATA and SEEK_HOLE; what reads as zeros counts as a hole, allocated or not. */
export async function seek(file: ServedFile, body: Uint8Array): Promise<Uint8Array> {
  // The kernel then answers by itself from now on: all is data.
  if (!file.device.caps.extents) throw new Refused(ENOSYS);
  const { offset, whence } = P.lseekIn.decode(body);
  const { size } = file.device;
  const from = exactNumber(offset);
  if (whence !== P.SEEK_DATA && whence !== P.SEEK_HOLE) throw new Refused(EINVAL);
  if (from === null || from >= size) throw new Refused(ENXIO);
  let found: number | null = whence === P.SEEK_HOLE ? size : null;
  for await (const e of file.device.extents(from, size - from)) {
    if ((e.kind === "data") === (whence === P.SEEK_DATA)) {
      found = e.offset;
      break;
    }
  }
  if (found === null) throw new Refused(ENXIO);
  const out = new Uint8Array(P.LSEEK_OUT_SIZE);
  P.lseekOut.encode({ offset: BigInt(found) }, out);
  return out;
}

/** Errno for what a device threw; the error itself is kept by the server. */
export function deviceErrno(error: StorageError): number {
  if (error.code === "read-only") return EROFS;
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOSPC" || code === "EDQUOT" ? ENOSPC : EIO;
}

/** The errno for what happened, and the device's error where it was one. */
export function failure(error: unknown): { errno: number; deviceError: StorageError | null } {
  if (error instanceof Refused) return { errno: error.errno, deviceError: null };
  const deviceError =
    error instanceof StorageError
      ? error
      : new StorageError("io", `unexpected failure while serving a file: ${String(error)}`, { cause: error });
  return { errno: deviceErrno(deviceError), deviceError };
}

function inside(file: ServedFile, offset: bigint, length: bigint): number {
  if (offset + length > BigInt(file.device.size)) throw new Refused(EFBIG);
  return Number(offset);
}
