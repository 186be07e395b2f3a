import { createCipheriv, createHash, randomBytes, randomInt } from "node:crypto";
import { StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import { dropCache } from "./give-back.ts";

/** Bytes after which what is done is on the medium, and is told. */
export const SEGMENT = 64 * 1024 * 1024;
const CHUNK = 4 * 1024 * 1024;
const SAMPLE = 4096;
/** Of one segment. */
const MAX_SAMPLES = 32;

/** A piece that was passed: what is allocated in it is overwritten, flushed, and read back in samples. */
export interface Segment {
  readonly at: number;
  readonly length: number;
  /** Of them overwritten: holes have nothing to overwrite. */
  readonly bytes: number;
  /** Offset and length of samples, and their SHA-256 one after the other. */
  readonly samples: readonly (readonly [number, number])[];
  readonly sha256: string;
}

export interface OverwriteOptions {
  /** Where to begin: behind the last segment that was told. */
  readonly from: number;
  /** Where to end. */
  readonly end: number;
  readonly segmentBytes?: number | undefined;
  /** What is allocated, in order, where the device itself cannot tell. */
  readonly only?: readonly { readonly offset: number; readonly length: number }[] | undefined;
  /** Told of each segment when it is on the medium. */
  onSegment(segment: Segment): void;
  readonly onProgress?: ((done: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Overwrites all that is allocated with the key stream of AES-256-CTR under a key that nobody has afterwards (no other pass can be told from it).
 * Throws `io` when a sample that is read back from the medium is not what was written.
 */
export async function overwrite(device: FileDevice, options: OverwriteOptions): Promise<void> {
  const { from, end, segmentBytes = SEGMENT, onSegment } = options;
  for (let at = from; at < end; at += segmentBytes) {
    const length = Math.min(segmentBytes, end - at);
    onSegment(await overwriteSegment(device, at, length, options));
  }
}

async function* allocated(device: FileDevice, at: number, length: number, only: OverwriteOptions["only"]) {
  if (only === undefined) {
    for await (const extent of device.extents(at, length)) if (extent.kind !== "hole") yield extent;
    return;
  }
  for (const range of only) {
    const offset = Math.max(at, range.offset);
    const end = Math.min(at + length, range.offset + range.length);
    if (offset < end) yield { offset, length: end - offset };
  }
}

async function overwriteSegment(
  device: FileDevice,
  at: number,
  length: number,
  { only, onProgress, signal }: OverwriteOptions,
): Promise<Segment> {
  const key = randomBytes(32);
  const cipher = createCipheriv("aes-256-ctr", key, randomBytes(16));
  key.fill(0);
  const zeros = Buffer.alloc(CHUNK);
  const expected = new Map<number, Uint8Array>();
  let bytes = 0;
  for await (const extent of allocated(device, at, length, only)) {
    const end = extent.offset + extent.length;
    for (let offset = extent.offset; offset < end; offset += CHUNK) {
      signal?.throwIfAborted();
      const noise = cipher.update(zeros.subarray(0, Math.min(CHUNK, end - offset)));
      await device.write(noise, offset);
      bytes += noise.length;
      if (expected.size < MAX_SAMPLES) {
        const start = noise.length <= SAMPLE ? 0 : randomInt(noise.length - SAMPLE);
        expected.set(offset + start, Uint8Array.from(noise.subarray(start, start + SAMPLE)));
      }
      onProgress?.(offset + noise.length);
    }
  }
  await device.flush();
  for (const [sample, wanted] of expected) {
    const found = await readBack(device, sample, wanted.length);
    if (Buffer.compare(found, wanted) !== 0) throw notWritten(sample);
  }
  const samples = [...expected].map(([offset, { length }]) => [offset, length] as const);
  return { at, length, bytes, samples, sha256: hashOf([...expected.values()]) };
}

/** Whether samples of segments that were told, by whichever process, are still what was written. Throws `io`. */
export async function readSamplesAgain(device: FileDevice, segments: readonly Segment[]): Promise<void> {
  for (const { at, samples, sha256 } of segments) {
    const found: Uint8Array[] = [];
    for (const [offset, length] of samples) found.push(await readBack(device, offset, length));
    if (hashOf(found) !== sha256) throw notWritten(samples[0]?.[0] ?? at);
  }
}

/** From the medium, as far as the kernel lets go of what it has in memory. */
async function readBack(device: FileDevice, offset: number, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length);
  dropCache(device.fd, offset, into.length);
  await device.read(into, offset);
  return into;
}

function hashOf(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

function notWritten(offset: number): StorageError {
  return new StorageError("io", "what is read back is not what was written: the old content may still be there", {
    layer: "file",
    offset,
    hint: "the medium is failing, or somebody else writes to it: destroy the medium itself",
  });
}
