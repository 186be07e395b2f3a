import { type BigIntStats, realpathSync, statSync } from "node:fs";
import { ioError, StorageError } from "../core/errors.ts";
import { blockDeviceSize, stableDeviceId } from "./block-device.ts";

/** What tells a source apart from others, also after a reboot; numbers beyond 2^53 are not expected of inodes, so they are text. */
export interface SourceIdentity {
  readonly realpath: string;
  readonly kind: "file" | "blockdev";
  /** Of a file. Device numbers of some file systems change at every mount. */
  readonly dev: string;
  readonly ino: string;
  /** Of a block device: `stableDeviceId`, or null. */
  readonly stableId: string | null;
  /** Bytes when it was recorded. */
  readonly size: number;
}

export function sourceIdentity(path: string): SourceIdentity {
  let stat: BigIntStats;
  let realpath: string;
  try {
    realpath = realpathSync(path);
    stat = statSync(realpath, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT")
      throw ioError(error, `cannot open ${path}`, { layer: "file" });
    throw new StorageError("io", `there is no ${path}`, {
      layer: "file",
      hint: "check the path; a guest of libvirt is named vm:NAME",
      cause: error,
    });
  }
  const block = stat.isBlockDevice();
  return {
    realpath,
    kind: block ? "blockdev" : "file",
    dev: String(block ? stat.rdev : stat.dev),
    ino: block ? "0" : String(stat.ino),
    stableId: block ? stableDeviceId(realpath) : null,
    size: block ? blockDeviceSize(realpath) : Number(stat.size),
  };
}

/**
 * Could `a` (recorded) be `b` (now)? A file: the same inode on the same device, or the same path; a block device: the same stable
 * name where both have one, else the same path. Its content decides in the end: the undo log holds checksums.
 */
export function maySameSource(a: SourceIdentity, b: SourceIdentity): boolean {
  if (a.kind !== b.kind) return false;
  if (a.kind === "blockdev") {
    return a.stableId !== null && b.stableId !== null ? a.stableId === b.stableId : a.realpath === b.realpath;
  }
  return a.realpath === b.realpath || (a.dev === b.dev && a.ino === b.ino);
}
