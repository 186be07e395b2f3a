import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { StorageError } from "../core/errors.ts";
import { type FileDevice, type FileDeviceOptions, openFileDevice } from "../core/file-device.ts";
import { blockDeviceSectorSize, blockDeviceSize, refuseBlockDeviceInUse } from "./block-device.ts";
import { systemHoles } from "./holes.ts";
import { isUnlocked, type LockMode, lockSource, type SourceLock } from "./locks.ts";
import { fileUnderLoop, refuseFileUnderLoop, refuseLoopsInUse } from "./loop-device.ts";
import { systemPrefetch } from "./prefetch.ts";
import { type SourceIdentity, sourceIdentity } from "./source-identity.ts";

export interface OpenedSource {
  readonly file: FileDevice;
  /** Null when it was opened to be looked at. */
  readonly lock: SourceLock | null;
  /** Call it after a look: throws `locked` when what was read may not be one state of the source, because something has written to it. */
  confirm(): void;
}

/** `look`: for a moment; nobody may be writing, but nobody is kept from it: a guest that is started meanwhile starts, and `confirm` tells. */
export type OpenMode = LockMode | "look";

/**
 * Opens an image or block device under the lock that goes with the mode. For writing: not while the host itself uses it, and block
 * devices with O_EXCL. The file under a loop device is locked as well: a guest may run on it. Closing the file gives the locks back.
 */
export async function openSource(
  identity: SourceIdentity,
  mode: OpenMode,
  { background }: Pick<FileDeviceOptions, "background"> = {},
): Promise<OpenedSource> {
  const path = identity.realpath;
  const block = identity.kind === "blockdev";
  if (mode === "write") {
    if (block) refuseBlockDeviceInUse(path);
    else refuseFileUnderLoop(path);
  }
  const under = block ? fileUnderLoop(path) : path;
  if (under !== null) refuseLoopsInUse(under);
  const file = openFileDevice(path, {
    writable: mode === "write",
    holes: systemHoles(),
    prefetcher: systemPrefetch,
    background,
    exclusive: block && mode === "write",
    ...(block ? { size: blockDeviceSize(path), sectorSize: blockDeviceSectorSize(path) } : {}),
  });
  try {
    const held = mode === "look" ? "read" : mode;
    if (block && under !== null) lockUnder(file, under, held);
    const free = mode === "look" && !block && isUnlocked(file.fd);
    const lock = free ? null : lockSource(file.fd, path, held);
    const confirm = () => {
      if (lock !== null) return;
      if (fstatSync(file.fd).mtimeMs === file.stat.mtimeMs) return;
      throw new StorageError("locked", `${path} was written to while it was looked at`, {
        layer: "file",
        hint: "what was read may be half old and half new: repeat it",
      });
    };
    return { file, lock, confirm };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

/** Opens an image or block device for reading, whoever uses it: for what is changed by nobody's writing, such as a LUKS header. */
export function openUnlocked(path: string): FileDevice {
  const { kind, realpath } = sourceIdentity(path);
  if (kind === "file") return openFileDevice(realpath);
  return openFileDevice(realpath, { size: blockDeviceSize(realpath), sectorSize: blockDeviceSectorSize(realpath) });
}

/** Locks the file under a loop device until the device is closed. */
function lockUnder(device: FileDevice, path: string, mode: LockMode): void {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    lockSource(fd, path, mode);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const close = device[Symbol.asyncDispose].bind(device);
  let open = true;
  Object.assign(device, {
    async [Symbol.asyncDispose]() {
      try {
        await close();
      } finally {
        if (open) closeSync(fd);
        open = false;
      }
    },
  });
}
