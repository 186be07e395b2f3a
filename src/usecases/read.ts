import { readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { openForInspection, readableVolume, type SourceOptions } from "./sources.ts";

const CHUNK = 4 * 1024 * 1024;

export interface ReadOptions extends SourceOptions {
  readonly volume: string;
  /** Bytes from the volume's start. */
  readonly offset?: number | undefined;
  /** Bytes; default: to the end. */
  readonly length?: number | undefined;
}

/** Hands a volume's raw bytes to `sink` in order. Progress is told in bytes. */
export async function readVolume(
  options: ReadOptions,
  sink: (bytes: Uint8Array) => Promise<void>,
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  await using opened = await openForInspection(options);
  const { device } = readableVolume(opened.stack, options.volume);
  const start = options.offset ?? 0;
  const end = options.length === undefined ? device.size : start + options.length;
  if (start > device.size || end > device.size) {
    throw new StorageError("range", `bytes ${start} to ${end} reach beyond the volume's ${device.size}`, {
      layer: "volume",
      offset: start,
    });
  }
  for (let at = start; at < end; ) {
    const length = Math.min(CHUNK, end - at);
    await sink(await readBytes(device, at, length, { signal: options.signal }));
    at += length;
    onProgress?.(at - start, end - start);
  }
}
