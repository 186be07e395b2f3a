import { inflateRawSync, constants as zlib } from "node:zlib";
import { StorageError } from "../../core/errors.ts";

/** Value of the header's compression_type field. */
export const DEFLATE = 0;
export const ZSTD = 1;

/**
 * Expands one compressed cluster to exactly `clusterSize` bytes. `input` may go on after the stream's end (the last sector is
 * shared with the next cluster). `at` is the data's offset in the file, for errors.
 */
export function expandCluster(type: number, input: Uint8Array, clusterSize: number, at: number): Uint8Array {
  if (type !== DEFLATE) {
    const name = type === ZSTD ? "zstd" : `type ${type}`;
    throw new StorageError("unsupported", `compression with ${name} is not supported`, {
      layer: "qcow2",
      offset: at,
      feature: `compression type ${name}`,
      hint: "rewrite the image with `qemu-img convert -O qcow2 IMAGE NEW` first",
    });
  }
  let out: Uint8Array;
  try {
    // Raw deflate (RFC 1951). SYNC_FLUSH accepts a stream without an end mark, as QEMU does once a cluster is full.
    out = inflateRawSync(input, { maxOutputLength: clusterSize, finishFlush: zlib.Z_SYNC_FLUSH });
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
