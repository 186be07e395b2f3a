import { isPowerOfTwo } from "../../bytes/integers.ts";
import { view } from "../../bytes/struct.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { QCOW_MAGIC, V2_HEADER, V3_HEADER } from "./header.ts";

export interface CreateOptions {
  /** Virtual size in bytes, a multiple of 512. */
  readonly size: number;
  /** A power of two from 512 bytes to 2 MiB. Default 64 KiB, as QEMU's. */
  readonly clusterSize?: number | undefined;
}

/** 16-bit refcounts, as QEMU makes them. */
const REFCOUNT_ORDER = 4;
const REFCOUNT_BYTES = 2;
/** Version 3 with the compression type and its padding. */
const HEADER_LENGTH = 112;

/**
 * Makes an empty qcow2 image (version 3) in a file of size 0: header, refcount table, its first blocks, L1 table, in this order.
 * The refcounts of these clusters are right from the start; everything else is allocated by the first writes.
 * Throws `usage` for a size or cluster size that the format has no room for.
 */
export async function createQcow2(file: BlockDevice, { size, clusterSize = 65536 }: CreateOptions): Promise<void> {
  if (!isPowerOfTwo(clusterSize) || clusterSize < 512 || clusterSize > 2 * 1024 * 1024)
    throw new StorageError("usage", `a cluster cannot have ${clusterSize} bytes`, { layer: "qcow2" });
  if (size % 512 !== 0) throw new StorageError("usage", `${size} bytes are no whole sectors`, { layer: "qcow2" });
  if (!file.resize || file.size !== 0)
    throw new StorageError("usage", "an image is made in an empty file", { layer: "qcow2" });
  const clusters = (bytes: number): number => Math.ceil(bytes / clusterSize);
  const l1Size = Math.ceil(size / (clusterSize * (clusterSize / 8)));
  const l1Clusters = clusters(l1Size * 8);
  const perBlock = clusterSize / REFCOUNT_BYTES;
  // Each block of refcounts is itself a cluster that is counted.
  let blocks = 1;
  while (blocks * perBlock < 2 + blocks + l1Clusters) blocks++;
  if (blocks > clusterSize / 8) {
    throw new StorageError("usage", `${size} bytes are too many for clusters of ${clusterSize}`, {
      layer: "qcow2",
      hint: "take larger clusters",
    });
  }
  const used = 2 + blocks + l1Clusters;
  const out = new Uint8Array((2 + blocks) * clusterSize);
  const dv = view(out);
  V2_HEADER.encode(
    {
      magic: QCOW_MAGIC,
      version: 3,
      backingFileOffset: 0n,
      backingFileSize: 0,
      clusterBits: Math.log2(clusterSize),
      size: BigInt(size),
      cryptMethod: 0,
      l1Size,
      l1TableOffset: BigInt((2 + blocks) * clusterSize),
      refcountTableOffset: BigInt(clusterSize),
      refcountTableClusters: 1,
      snapshotCount: 0,
      snapshotsOffset: 0n,
    },
    out,
  );
  V3_HEADER.encode(
    { incompatible: 0n, compatible: 0n, autoclear: 0n, refcountOrder: REFCOUNT_ORDER, headerLength: HEADER_LENGTH },
    out,
  );
  for (let b = 0; b < blocks; b++) dv.setBigUint64(clusterSize + 8 * b, BigInt((2 + b) * clusterSize));
  for (let c = 0; c < used; c++) dv.setUint16(2 * clusterSize + REFCOUNT_BYTES * c, 1);
  await file.resize(used * clusterSize);
  await file.write(out, 0);
}
