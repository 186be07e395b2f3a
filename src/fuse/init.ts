import { StorageError } from "../core/errors.ts";
import * as P from "./protocol.ts";

/** Most data in one READ or WRITE: 256 pages, the kernel's FUSE_MAX_MAX_PAGES by default (fs/fuse/fuse_i.h). */
export const MAX_TRANSFER = 1024 * 1024;
/** 32 pages, what a kernel without FUSE_MAX_PAGES (before 4.20) allows (FUSE_DEFAULT_MAX_PAGES_PER_REQ). */
const OLD_MAX_TRANSFER = 128 * 1024;
const PAGE = 4096;
/** Readahead requests that may be in flight; the kernel's own default is 12 (FUSE_DEFAULT_MAX_BACKGROUND). */
const MAX_BACKGROUND = 16;
const CONGESTION = 12;

/** The answer to INIT. Throws `unsupported` when kernel and server have no version in common. */
export function negotiate(body: Uint8Array): Uint8Array {
  const kernel = P.initIn.decode(body);
  if (kernel.major !== P.FUSE_MAJOR || kernel.minor < P.FUSE_MINOR_OLDEST) {
    throw new StorageError("unsupported", `this kernel's FUSE interface is ${kernel.major}.${kernel.minor}`, {
      layer: "fuse",
      feature: `FUSE ${kernel.major}.${kernel.minor}`,
      hint: `Linux 4.18 or newer is needed (interface ${P.FUSE_MAJOR}.${P.FUSE_MINOR_OLDEST})`,
    });
  }
  const wanted = P.InitFlag.ASYNC_READ + P.InitFlag.BIG_WRITES + P.InitFlag.MAX_PAGES;
  const big = (kernel.flags & P.InitFlag.MAX_PAGES) !== 0;
  const out = new Uint8Array(P.INIT_OUT_SIZE);
  P.initOut.encode(
    {
      major: P.FUSE_MAJOR,
      minor: P.FUSE_MINOR,
      // The kernel takes the smaller of this and its own.
      maxReadahead: MAX_TRANSFER,
      flags: kernel.flags & wanted,
      backgroundAndCongestion: CONGESTION * 0x10000 + MAX_BACKGROUND,
      maxWrite: big ? MAX_TRANSFER : OLD_MAX_TRANSFER,
      timeGran: 1,
      pagesAndAlignment: big ? MAX_TRANSFER / PAGE : 0,
    },
    out,
  );
  return out;
}
