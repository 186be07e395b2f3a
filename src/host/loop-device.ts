import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename } from "node:path";
import { StorageError } from "../core/errors.ts";
import { blockDeviceInUse } from "./block-device.ts";

const FOLDER = "/sys/block";

/** The loop devices of this host that have `path` as their file: the host itself may write it through them. */
export function loopDevicesOn(path: string): string[] {
  const real = realpathSync(path);
  return (attempt(() => readdirSync(FOLDER)) ?? [])
    .filter((name) => name.startsWith("loop") && backingFile(name) === real)
    .map((name) => `/dev/${name}`);
}

/** The file under a loop device or a partition of one, while it still has its name; null for any other device. */
export function fileUnderLoop(path: string): string | null {
  const name = /^(loop\d+)(p\d+)?$/.exec(basename(realpathSync(path)))?.[1];
  const file = name === undefined ? null : backingFile(name);
  return file !== null && attempt(() => statSync(file).isFile()) ? file : null;
}

/** Throws `locked` when a loop device of this host has the file: it caches and writes it past us. */
export function refuseFileUnderLoop(path: string): void {
  const [loop] = loopDevicesOn(path);
  if (loop === undefined) return;
  throw new StorageError("locked", `${path} is in use by this host: it is attached to ${loop}`, {
    layer: "file",
    hint: `end its use, then detach it with losetup --detach ${loop}`,
  });
}

/**
 * Throws `locked` when this host uses the file through a loop device that can write it (mounted, held by device mapper or md): what is read would
 * be out of date and torn. A loop device that nobody uses, or that is read-only, is no obstacle to reading.
 */
export function refuseLoopsInUse(path: string): void {
  for (const loop of loopDevicesOn(path)) {
    if (attempt(() => readFileSync(`${FOLDER}/${basename(loop)}/ro`, "utf8").trim()) === "1") continue;
    const reason = attempt(() => blockDeviceInUse(loop));
    if (reason === null) continue;
    throw new StorageError("locked", `${path} is in use by this host: it is attached to ${loop}, and ${reason}`, {
      layer: "file",
      hint: "unmount it or end its use first; lsblk shows what stands on it",
    });
  }
}

function backingFile(name: string): string | null {
  return attempt(() => readFileSync(`${FOLDER}/${name}/loop/backing_file`, "utf8").trimEnd());
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
