import { StorageError } from "../core/errors.ts";
import { workBuffers } from "../crypto/xor.ts";
import { widenPipe } from "../host/pipe-size.ts";
import { openForInspection } from "./open-for-reading.ts";
import { readableVolume } from "./readable-volume.ts";
import type { SourceOptions } from "./source-options.ts";

/**
 * Bytes read and handed over at once: what a pipe takes in one go, and no more than stays in the processor's cache meanwhile, where it is
 * read, decrypted and copied on.
 */
const CHUNK = 1024 * 1024;
/** So many bytes that come next are sent for while a chunk is worked on, so that a disk and the processor work at the same time. */
const AHEAD = 8 * 1024 * 1024;
/** Milliseconds: a chunk that took longer was not in memory. To send for what is there would take a twentieth of the whole time. */
const FROM_MEMORY = 1;
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
  if (options.into !== undefined && end - start >= MUCH) widenPipe(options.into);
  using work = workBuffers(2, CHUNK);
  let turn = 0;
  let sent = start;
  const sendForMore = (from: number): void => {
    const to = Math.min(from + AHEAD, end);
    const first = Math.max(from, sent);
    // In steps, not a little each time.
    if (to - first < AHEAD / 2) return;
    sent = to;
    void device.prefetch?.(first, to - first);
  };
  const fetch = async (at: number): Promise<Uint8Array> => {
    const bytes = work.buffers[turn++ % 2]!.subarray(0, Math.min(CHUNK, end - at));
    if (bytes.length === 0) return bytes;
    const began = performance.now();
    await device.read(bytes, at, { signal: options.signal });
    if (performance.now() - began > FROM_MEMORY) sendForMore(at + bytes.length);
    return bytes;
  };
  for (let at = start, next = fetch(at); at < end; ) {
    const bytes = await next;
    at += bytes.length;
    // A pipe has it all when this returns. What takes longer goes on while the next is read, into the other buffer.
    const taken = sink(bytes);
    taken.catch(() => undefined);
    if (at < end) {
      next = fetch(at);
      next.catch(() => undefined);
    }
    try {
      await taken;
    } catch (error) {
      await next.catch(() => undefined);
      throw error;
    }
    onProgress?.(at - start, end - start);
  }
}
