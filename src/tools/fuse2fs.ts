import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { StorageError } from "../core/errors.ts";
import { CAGED_FILE } from "./bwrap.ts";
import { findProgram } from "./find.ts";

/** Where fuse2fs believes that it mounts. */
const MOUNT_POINT = "/mnt";
/** In the environment of all programs in the cage, so that the stand-in can be found among this host's processes. */
export const MOUNT_MARK = "UNTERBAU_MOUNT";

/**
 * libfuse has itself mounted by `fusermount`, which sends the connection to the kernel over the socket that _FUSE_COMMFD names. In the cage
 * this stands in for it: it says the socket's number on descriptor $1 and stays, so that the real one, outside, can be given that socket.
 */
export function standIn(reportFd: number): string {
  return `#!/bin/sh\necho "socket $_FUSE_COMMFD" >&${reportFd}\nexec sleep 2147483647\n`;
}

/** The number of the socket in what the stand-in said; null: it is something else. */
export function socketIn(text: string): number | null {
  const match = /^socket (\d{1,4})\n/.exec(text);
  return match ? Number(match[1]) : null;
}

/** fuse2fs's path. Throws `unsupported` with the package's name when it is missing. */
export function requireFuse2fs(searchPath?: string, systemDirs?: readonly string[]): string {
  const path = findProgram("fuse2fs", searchPath, systemDirs);
  if (path !== null) return path;
  throw new StorageError("unsupported", "fuse2fs is not installed, so no ext file system can be mounted", {
    feature: "fuse2fs",
    hint: "install the package fuse2fs; ls, cat and cp read the files without it",
  });
}

/**
 * The major version of the libfuse that a fuse2fs was built with, from its own words (`FUSE library version: 2.9.9`, or without the colon from 3 on).
 * Null: it did not say. No guest's byte is near it.
 */
export function libfuseOf(path: string): number | null {
  const said = spawnSync(path, ["-V"], { encoding: "utf8", env: { ...process.env, LC_ALL: "C" }, timeout: 10_000 });
  return libfuseIn(`${said.stdout}\n${said.stderr}`);
}

/** The same from what it said. */
export function libfuseIn(text: string): number | null {
  const match = /^FUSE library version:? (\d+)\./m.exec(text);
  return match ? Number(match[1]) : null;
}

/**
 * fuse2fs(1) on the caged file, read-only, in the foreground. Nothing changes below it, so the kernel may keep all that it was told. `fakeroot`:
 * who may read the disk may read every file in it; only this user gets there. `use_ino` has the kernel shown the volume's inode numbers; libfuse 3
 * has no such option, there the program decides (fuse2fs 1.47.2 does not, 1.47.4 does).
 */
export function fuse2fsArgv(path: string, libfuse: number | null): string[] {
  const options = ["ro", "fakeroot", "auto_unmount", "no_default_opts", "kernel_cache"];
  if (libfuse === 2) options.push("use_ino");
  const kept = ["attr_timeout", "entry_timeout", "negative_timeout"].map((name) => `${name}=86400`);
  return [path, CAGED_FILE, MOUNT_POINT, "-f", "-o", [...options, ...kept].join(",")];
}

/**
 * libfuse 3 opens /dev/fuse and tries to mount by itself, and asks fusermount3 only when it may not mount (EPERM, which the filter says): where the device is
 * not there it gives up at once. /dev/null does for it, and is nothing.
 */
export const FUSE2FS_DEVICES: readonly string[] = ["--dev-bind", "/dev/null", "/dev/fuse"];

/** What its cage has more than a checker's: an empty mount point, and the stand-in with what that needs. */
export function fuse2fsCage(mark: string, standInFd: number): string[] {
  const [shell, sleep] = ["/bin/sh", "/bin/sleep"].map((name) => realpathSync(name));
  return [
    ...["--dir", MOUNT_POINT],
    ...["--ro-bind", shell!, "/bin/sh", "--ro-bind", sleep!, "/bin/sleep"],
    ...["--perms", "0555", "--ro-bind-data", String(standInFd), "/bin/fusermount3"],
    // libfuse 2 and 3 each look for their own; either may have been built for /usr/bin.
    ...["--symlink", "fusermount3", "/bin/fusermount"],
    ...[
      "--symlink",
      "/bin/fusermount3",
      "/usr/bin/fusermount3",
      "--symlink",
      "/bin/fusermount3",
      "/usr/bin/fusermount",
    ],
    ...["--setenv", MOUNT_MARK, mark],
  ];
}
