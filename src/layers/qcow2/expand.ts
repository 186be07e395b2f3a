import { promisify } from "node:util";
import { inflateRaw, inflateRawSync, constants as zlib } from "node:zlib";
import { StorageError } from "../../core/errors.ts";
import { zstdFrameLength } from "./zstd-frame.ts";

/** Values of the header's compression_type field ("Additional fields"). */
const DEFLATE = 0;
const ZSTD = 1;

/** Whether clusters of this compression type can be expanded. */
export function knowsCompression(type: number): boolean {
  return type === DEFLATE || type === ZSTD;
}

export function isZstd(type: number): boolean {
  return type === ZSTD;
}

/**
 * Expands one compressed cluster to exactly `clusterSize` bytes. `input` may go on after the stream's end (the last sector is
 * shared with the next cluster). `at` is the data's offset in the file, for errors. `aside`: on another thread, where that is
 * possible; it takes longer for one cluster, and less for many.
 */
export async function expandCluster(
  type: number,
  input: Uint8Array,
  clusterSize: number,
  at: number,
  aside = false,
): Promise<Uint8Array> {
  let out: Uint8Array;
  try {
    out = type === ZSTD ? await unzstd(input, clusterSize) : await inflate(input, clusterSize, aside);
  } catch (cause) {
    throw new StorageError("corrupt", "a compressed cluster cannot be expanded", { layer: "qcow2", offset: at, cause });
  }
  if (out.length !== clusterSize) {
    throw new StorageError("corrupt", `a compressed cluster holds ${out.length} bytes, not ${clusterSize}`, {
      layer: "qcow2",
      offset: at,
    });
  }
  return out;
}

/** Raw deflate (RFC 1951). SYNC_FLUSH accepts a stream without an end mark, as QEMU does once a cluster is full. */
async function inflate(input: Uint8Array, clusterSize: number, aside: boolean): Promise<Uint8Array> {
  // One chunk for all of the output: the default of 16 KiB would be put together from pieces.
  const options = { maxOutputLength: clusterSize, chunkSize: clusterSize, finishFlush: zlib.Z_SYNC_FLUSH };
  return aside ? promisify(inflateRaw)(input, options) : inflateRawSync(input, options);
}

/** Loaded by the first zstd cluster: few images have any. The output's length is 0 when the frame is damaged. */
async function unzstd(input: Uint8Array, clusterSize: number): Promise<Uint8Array> {
  const length = zstdFrameLength(input);
  if (length === null) throw new Error("no complete zstd frame");
  const { ZSTDDecoder } = await import("zstddec");
  const decoder = new ZSTDDecoder();
  await decoder.init();
  return decoder.decode(input.subarray(0, length), clusterSize);
}
