import type { BlockDevice } from "../../src/core/device.ts";
import { readBytes } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { LayerDriver, OpenContext, ProbeHit } from "../../src/core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";

/** A context for layers that need neither keys nor other images. */
export function plainContext(writable = false, limits: Partial<Limits> = {}): OpenContext {
  return {
    writable,
    keys: { secretsFor: async () => [] },
    limits: { ...DEFAULT_LIMITS, ...limits },
    openImage: async () => {
      throw new StorageError("gate", "this layer has no reason to open other images");
    },
  };
}

/** Asks one driver about a device, through a window that only cuts at the end. */
export function probeDevice(driver: LayerDriver, device: BlockDevice): Promise<ProbeHit | null> {
  return driver.probe({
    size: device.size,
    sectorSize: device.caps.sectorSize,
    read: (offset, length) => readBytes(device, offset, Math.max(0, Math.min(length, device.size - offset))),
  });
}

/** Opens a file, gives it to `work` and closes it. */
export async function withFile<T>(
  path: string,
  work: (device: BlockDevice) => Promise<T>,
  options: { writable?: boolean; sectorSize?: number } = {},
): Promise<T> {
  const device = openFileDevice(path, options);
  try {
    return await work(device);
  } finally {
    await device[Symbol.asyncDispose]();
  }
}
