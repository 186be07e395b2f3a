import type { BlockDevice } from "../../src/core/device.ts";
import { readBytes } from "../../src/core/device.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { ProbeWindow } from "../../src/core/layer.ts";

/** A window over bytes in memory, or over the start of them, that counts what is read. */
export function memoryWindow(bytes: Uint8Array): ProbeWindow & { reads: number; bytesRead: number } {
  return {
    size: bytes.length,
    sectorSize: 512,
    reads: 0,
    bytesRead: 0,
    async read(offset, length) {
      const part = bytes.slice(offset, offset + length);
      this.reads++;
      this.bytesRead += part.length;
      return part;
    },
  };
}

/** Opens `path` and gives a window over it to `work`. */
export async function withFileWindow<T>(path: string, work: (window: ProbeWindow) => Promise<T>): Promise<T> {
  const device: BlockDevice = openFileDevice(path);
  try {
    return await work({
      size: device.size,
      sectorSize: 512,
      read: (offset, length) => readBytes(device, offset, Math.max(0, Math.min(length, device.size - offset))),
    });
  } finally {
    await device[Symbol.asyncDispose]();
  }
}
