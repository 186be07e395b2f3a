import { struct } from "../bytes/struct.ts";

/**
 * The part of the kernel's FUSE interface that one regular file needs. Names, numbers and layouts: include/uapi/linux/fuse.h
 * of Linux (interface 7.38). The interface has the machine's byte order; Node runs on little-endian machines only.
 */

export const FUSE_MAJOR = 7;
/** The minor version whose layouts are used here; the kernel uses the smaller of its own and this one. */
export const FUSE_MINOR = 31;
/** Linux 4.18, the first in which a user namespace may mount FUSE, speaks 7.27. */
export const FUSE_MINOR_OLDEST = 27;
export const ROOT_ID = 1n;

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  FLUSH: 25,
  INIT: 26,
  ACCESS: 34,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  LSEEK: 46,
  SYNCFS: 50,
} as const;

/** Negotiated in INIT. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  BIG_WRITES: 1 << 5,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
} as const;

/** fuse_setattr_in.valid */
export const FATTR_SIZE = 1 << 3;
/** fuse_open_out.open_flags: pages cached earlier stay valid; nobody else changes the device. */
export const FOPEN_KEEP_CACHE = 1 << 1;

/** fallocate(2) modes (include/uapi/linux/falloc.h). */
export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;

/** lseek(2) */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const inHeader = struct("fuse_in_header", "little", {
  len: { at: 0, type: "u32" },
  opcode: { at: 4, type: "u32" },
  unique: { at: 8, type: "u64" },
  nodeid: { at: 16, type: "u64" },
  uid: { at: 24, type: "u32" },
  gid: { at: 28, type: "u32" },
  pid: { at: 32, type: "u32" },
});
/** sizeof(struct fuse_in_header), with the trailing fields that are not read here. */
export const IN_HEADER_SIZE = 40;

export const outHeader = struct("fuse_out_header", "little", {
  len: { at: 0, type: "u32" },
  /** Zero or a negated errno. */
  error: { at: 4, type: "i32" },
  unique: { at: 8, type: "u64" },
});
export const OUT_HEADER_SIZE = 16;

export const initIn = struct("fuse_init_in", "little", {
  major: { at: 0, type: "u32" },
  minor: { at: 4, type: "u32" },
  maxReadahead: { at: 8, type: "u32" },
  flags: { at: 12, type: "u32" },
});

export const initOut = struct("fuse_init_out", "little", {
  major: { at: 0, type: "u32" },
  minor: { at: 4, type: "u32" },
  maxReadahead: { at: 8, type: "u32" },
  flags: { at: 12, type: "u32" },
  /** u16 max_background in the low half, u16 congestion_threshold in the high half. */
  backgroundAndCongestion: { at: 16, type: "u32" },
  maxWrite: { at: 20, type: "u32" },
  timeGran: { at: 24, type: "u32" },
  /** u16 max_pages in the low half, u16 map_alignment in the high half. */
  pagesAndAlignment: { at: 28, type: "u32" },
});
export const INIT_OUT_SIZE = 64;

/** struct fuse_attr inside struct fuse_attr_out. */
export const attrOut = struct("fuse_attr_out", "little", {
  attrValid: { at: 0, type: "u64", ref: "seconds for which the kernel may use these attributes" },
  ino: { at: 16, type: "u64" },
  size: { at: 24, type: "u64" },
  blocks: { at: 32, type: "u64", ref: "units of 512 bytes" },
  mode: { at: 76, type: "u32" },
  nlink: { at: 80, type: "u32" },
  uid: { at: 84, type: "u32" },
  gid: { at: 88, type: "u32" },
  blksize: { at: 96, type: "u32" },
});
export const ATTR_OUT_SIZE = 104;

export const setattrIn = struct("fuse_setattr_in", "little", {
  valid: { at: 0, type: "u32" },
  size: { at: 16, type: "u64" },
});

export const openIn = struct("fuse_open_in", "little", { flags: { at: 0, type: "u32" } });

export const openOut = struct("fuse_open_out", "little", {
  fh: { at: 0, type: "u64" },
  openFlags: { at: 8, type: "u32" },
});
export const OPEN_OUT_SIZE = 16;

/** The fields used of fuse_read_in and fuse_write_in, which begin alike. */
export const ioIn = struct("fuse_read_in", "little", {
  offset: { at: 8, type: "u64" },
  size: { at: 16, type: "u32" },
});
/** sizeof(struct fuse_write_in); the data follow. */
export const WRITE_IN_SIZE = 40;

export const writeOut = struct("fuse_write_out", "little", { size: { at: 0, type: "u32" } });
export const WRITE_OUT_SIZE = 8;

export const statfsOut = struct("fuse_statfs_out", "little", {
  blocks: { at: 0, type: "u64" },
  bsize: { at: 40, type: "u32" },
  namelen: { at: 44, type: "u32" },
  frsize: { at: 48, type: "u32" },
});
export const STATFS_OUT_SIZE = 80;

export const fallocateIn = struct("fuse_fallocate_in", "little", {
  offset: { at: 8, type: "u64" },
  length: { at: 16, type: "u64" },
  mode: { at: 24, type: "u32" },
});

export const lseekIn = struct("fuse_lseek_in", "little", {
  offset: { at: 8, type: "u64" },
  whence: { at: 16, type: "u32" },
});

export const lseekOut = struct("fuse_lseek_out", "little", { offset: { at: 0, type: "u64" } });
export const LSEEK_OUT_SIZE = 8;

/**
 * What the server sends unasked has its code in place of the error and no `unique` (enum fuse_notify_code).
 * STORE: fuse_notify_store_out and then data, which the kernel puts into its cache of the file.
 */
export const NOTIFY_STORE = 4;
export const notifyStoreOut = struct("fuse_notify_store_out", "little", {
  nodeid: { at: 0, type: "u64" },
  offset: { at: 8, type: "u64" },
  size: { at: 16, type: "u32" },
});
export const NOTIFY_STORE_OUT_SIZE = 24;
