import { type FileDevice, openFileDevice } from "../core/file-device.ts";
import { blockDeviceSectorSize, blockDeviceSize, refuseBlockDeviceInUse, refuseFileUnderLoop } from "./block-device.ts";
import { systemHoles } from "./holes.ts";
import { type LockMode, lockSource, type SourceLock } from "./locks.ts";
import type { SourceIdentity } from "./source-identity.ts";

export interface OpenedSource {
  readonly file: FileDevice;
  readonly lock: SourceLock;
}

/**
 * Opens an image or block device under the lock that goes with the mode. For writing: not while the host itself uses it, and block
 * devices with O_EXCL. Closing the file gives the lock back.
 */
export async function openSource(identity: SourceIdentity, mode: LockMode): Promise<OpenedSource> {
  const path = identity.realpath;
  const block = identity.kind === "blockdev";
  if (mode === "write") {
    if (block) refuseBlockDeviceInUse(path);
    else refuseFileUnderLoop(path);
  }
  const file = openFileDevice(path, {
    writable: mode === "write",
    holes: systemHoles(),
    exclusive: block && mode === "write",
    ...(block ? { size: blockDeviceSize(path), sectorSize: blockDeviceSectorSize(path) } : {}),
  });
  try {
    return { file, lock: lockSource(file.fd, path, mode) };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}
