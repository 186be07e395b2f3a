import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { StorageError } from "../core/errors.ts";
import { findAny } from "./checker.ts";

/** The variable by which libfuse names the socket for the descriptor. */
export const SOCKET_VARIABLE = "_FUSE_COMMFD";
/** The descriptor that the socket has in the child. */
const SOCKET_FD = 3;

/** fusermount3's path. Throws `unsupported` with the package's name when it is missing. */
export function requireFusermount(searchPath?: string): string {
  const path = findAny(["fusermount3", "fusermount"], searchPath);
  if (path !== null) return path;
  throw new StorageError("unsupported", "fusermount3 is not installed, so nothing can be mounted for all to see", {
    feature: "fusermount3",
    hint: "install the package fuse3; ls, cat and cp read the files without it",
  });
}

/**
 * Mounts on `folder` for this user alone, read-only, and sends the connection to the kernel over `socket`, which stays the caller's.
 * The process waits for the other end of the socket to close, whoever is killed, and unmounts then. It ends at once when it cannot mount,
 * with the reason on its standard error.
 */
export function fusermount(folder: string, name: string, socket: number): ChildProcess {
  const options = ["ro", "nosuid", "nodev", "noexec", "auto_unmount", "subtype=fuse2fs", `fsname=${name}`];
  return spawn(requireFusermount(), ["-o", options.join(","), "--", folder], {
    stdio: ["ignore", "ignore", "pipe", socket],
    env: { ...process.env, LC_ALL: "C", [SOCKET_VARIABLE]: String(SOCKET_FD) },
    // A Ctrl-C is for us: it must be there to unmount afterwards.
    detached: true,
    cwd: "/",
  });
}

/** Unmounts; `lazy`: also when it is in use, which ends when its last user has gone. Null: done, else the reason in fusermount's words. */
export function unmountFuse(folder: string, { lazy }: { readonly lazy: boolean }): string | null {
  const argv = ["-u", ...(lazy ? ["-z"] : []), "--", folder];
  const done = spawnSync(requireFusermount(), argv, {
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, LC_ALL: "C" },
    cwd: "/",
  });
  if (done.status === 0) return null;
  return done.stderr.trim().split("\n").at(-1) || `fusermount3 ended with ${done.status ?? done.signal}`;
}
