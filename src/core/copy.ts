import { setTimeout as wait } from "node:timers/promises";
import { alignDown, isZero } from "../bytes/integers.ts";
import type { BlockDevice } from "./device.ts";

/** Bytes read at once. */
export const COPY_CHUNK = 4 * 1024 * 1024;
/** Zeros are looked for in pieces of this size: a cluster of qcow2, and more than any file system's block. */
const GRAIN = 64 * 1024;
/** Bytes between two checkpoints. */
const CHECKPOINT = 1024 * 1024 * 1024;

export interface CopyOptions {
  /** Bytes from the start that were copied before. */
  readonly from?: number | undefined;
  /** The target reads as zeros where nothing was written: zeros are left out. Else they are written. */
  readonly blank: boolean;
  /** Bytes between checkpoints; default 1 GiB. */
  readonly every?: number | undefined;
  /** Everything below `done` is durable in the target. */
  readonly onCheckpoint?: ((done: number) => Promise<void>) | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
  /** At most so many bytes a second, on the average; holes that are not written do not count. */
  readonly rate?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Two of `COPY_CHUNK` bytes, where the caller has memory that suits the source better. */
  readonly buffers?: readonly Uint8Array[] | undefined;
}

export interface CopyProgress {
  /** Bytes of the source that are dealt with, holes among them. */
  readonly done: number;
  readonly total: number;
  /** Bytes written to the target, zeros aside. */
  readonly written: number;
}

/**
 * Copies all of `source` to the start of `target`, which is at least as large, in ascending order. Holes and zeros are not read, and not
 * written either where the target is blank. Ends with a flush. Throws what the devices throw, `cancelled` on abort between two chunks.
 */
export async function copyDevice(
  source: BlockDevice,
  target: BlockDevice,
  options: CopyOptions,
): Promise<CopyProgress> {
  const { blank, signal, every = CHECKPOINT, onCheckpoint, onProgress, rate } = options;
  const total = source.size;
  // One chunk is written while the next is read.
  const buffers = options.buffers ?? [new Uint8Array(COPY_CHUNK), new Uint8Array(COPY_CHUNK)];
  let turn = 0;
  let writing: Promise<void> = Promise.resolve();
  let written = 0;
  let done = options.from ?? 0;
  let saved = done;

  const began = performance.now();
  let counted = 0;
  const slowDown = async (bytes: number): Promise<void> => {
    counted += bytes;
    for (;;) {
      const ahead = (counted / rate!) * 1000 - (performance.now() - began);
      if (ahead <= 0) return;
      // Timers of more than 2^31 ms go off at once.
      await wait(Math.min(ahead, 60_000), undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  };
  const zeros = async (offset: number, length: number): Promise<void> => {
    if (!blank && length > 0) await target.zero(offset, length, { signal });
  };
  const data = async (bytes: Uint8Array, offset: number): Promise<void> => {
    for (const run of runs(bytes, offset)) {
      if (run.zero) await zeros(offset + run.start, run.end - run.start);
      else {
        await target.write(bytes.subarray(run.start, run.end), offset + run.start, { signal });
        written += run.end - run.start;
      }
    }
  };

  for await (const extent of source.extents(done, total - done, { signal })) {
    const end = extent.offset + extent.length;
    while (done < end) {
      signal?.throwIfAborted();
      if (extent.kind === "data") {
        // Chunks end on multiples of their size, so that a target's clusters are written whole.
        const length = Math.min(alignDown(done, COPY_CHUNK) + COPY_CHUNK, end) - done;
        const bytes = buffers[turn++ % 2]!.subarray(0, length);
        await settled(source.read(bytes, done, { signal }), writing);
        // The next read is sent off first: a write may be done in place.
        const at = done;
        writing = Promise.resolve().then(() => data(bytes, at));
        // It is awaited with the next chunk, or at the end.
        writing.catch(() => undefined);
        done += length;
        if (rate !== undefined) await slowDown(length);
      } else {
        await writing;
        // Where zeros are written they take as long as data, and are counted like it.
        const stop = blank ? end : Math.min(alignDown(done, COPY_CHUNK) + COPY_CHUNK, end);
        await zeros(done, stop - done);
        if (!blank && rate !== undefined) await slowDown(stop - done);
        done = stop;
      }
      onProgress?.({ done, total, written });
      if (onCheckpoint && done - saved >= every) {
        await writing;
        await target.flush();
        await onCheckpoint(done);
        saved = done;
      }
    }
  }
  await writing;
  await target.flush();
  return { done, total, written };
}

/** Waits for both, also when one fails: neither may still use its buffer afterwards. */
async function settled(reading: Promise<void>, writing: Promise<void>): Promise<void> {
  const failed = (await Promise.allSettled([writing, reading])).find((r) => r.status === "rejected");
  if (failed) throw failed.reason;
}

interface Run {
  readonly start: number;
  readonly end: number;
  readonly zero: boolean;
}

/** Alternating runs of zeros and data, cut at multiples of GRAIN of the device. */
function* runs(bytes: Uint8Array, offset: number): Generator<Run> {
  let open: Run | null = null;
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(alignDown(offset + at, GRAIN) + GRAIN - offset, bytes.length);
    const zero = isZero(bytes.subarray(at, end));
    if (open && open.zero === zero) open = { start: open.start, end, zero };
    else {
      if (open) yield open;
      open = { start: at, end, zero };
    }
    at = end;
  }
  if (open) yield open;
}
