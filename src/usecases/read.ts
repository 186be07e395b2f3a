import { StorageError } from "../core/errors.ts";
import { workBuffers } from "../crypto/xor.ts";
import { widenPipe } from "../host/pipe-size.ts";
import { openForInspection, readableVolume, type SourceOptions } from "./sources.ts";

const CHUNK = 4 * 1024 * 1024;
/** Of so many bytes on it is worth to load what widens a pipe. */
const MUCH = 64 * 1024 * 1024;

export interface ReadOptions extends SourceOptions {
  readonly volume: string;
  /** Bytes from the volume's start. */
  readonly offset?: number | undefined;
  /** Bytes; default: to the end. */
  readonly length?: number | undefined;
  /** The descriptor that `sink` writes to: much goes through a pipe faster when that is made larger. */
  readonly into?: number | undefined;
}

/** Hands a volume's raw bytes to `sink` in order; they are good until its promise resolves. Progress is told in bytes. */
export async function readVolume(
  options: ReadOptions,
  sink: (bytes: Uint8Array) => Promise<void>,
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  await using opened = await openForInspection({ ...options, streaming: true });
  const { device } = readableVolume(opened.stack, options.volume);
  const start = options.offset ?? 0;
  const end = options.length === undefined ? device.size : start + options.length;
  if (start > device.size || end > device.size) {
    throw new StorageError("range", `bytes ${start} to ${end} reach beyond the volume's ${device.size}`, {
      layer: "volume",
      offset: start,
    });
  }
  if (options.into !== undefined && end - start >= MUCH) widenPipe(options.into);
  using work = workBuffers(2, CHUNK);
  let turn = 0;
  const fetch = (at: number): Promise<Uint8Array> => {
    const bytes = work.buffers[turn++ % 2]!.subarray(0, Math.min(CHUNK, end - at));
    const read = bytes.length === 0 ? Promise.resolve() : device.read(bytes, at, { signal: options.signal });
    const done = read.then(() => bytes);
    done.catch(() => undefined);
    return done;
  };
  // One chunk is handed over while the next is read.
  for (let at = start, next = fetch(at); at < end; ) {
    const bytes = await next;
    at += bytes.length;
    if (at < end) next = fetch(at);
    try {
      await sink(bytes);
    } catch (error) {
      await next.catch(() => undefined);
      throw error;
    }
    onProgress?.(at - start, end - start);
  }
}
