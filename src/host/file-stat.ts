import type { Stats } from "node:fs";
import type { FileStat } from "../audit/model.ts";

/** What lstat(2) says, as an audit keeps it. */
export function fileStatOf(stat: Stats): FileStat {
  const type = stat.isFile()
    ? "file"
    : stat.isDirectory()
      ? "folder"
      : stat.isBlockDevice()
        ? "block"
        : stat.isSymbolicLink()
          ? "link"
          : stat.isSocket()
            ? "socket"
            : "other";
  return {
    type,
    mode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    size: stat.size,
    modified: new Date(stat.mtimeMs).toISOString(),
  };
}
