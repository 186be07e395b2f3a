import { type Decoded, struct } from "../../bytes/struct.ts";
import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { safeNumber, withinLimit } from "../../core/numbers.ts";
import { COMPRESSION_TYPE, EXTENDED_L2 } from "./features.ts";
import { l2EntryBytes } from "./geometry.ts";

/** `QFI\xfb` (qcow2 specification, "Header", bytes 0-3). */
export const QCOW_MAGIC = 0x514649fb;
/** QEMU's MIN_CLUSTER_BITS and MAX_CLUSTER_BITS (block/qcow2.h): 512 bytes to 2 MiB. */
const MIN_CLUSTER_BITS = 9;
const MAX_CLUSTER_BITS = 21;
/** Specification, "Header", byte 20: with extended L2 entries a subcluster has at least 512 bytes. */
const MIN_EXTENDED_CLUSTER_BITS = 14;
/** Specification, "Header", byte 96: "may not exceed 6". */
const MAX_REFCOUNT_ORDER = 6;
/** Specification, "Header", byte 16. */
const MAX_BACKING_NAME = 1023;
/** Refcount order of version 2, which has no field for it. */
const V2_REFCOUNT_ORDER = 4;

export const V2_HEADER = struct("qcow2 header", "big", {
  magic: { at: 0, type: "u32" },
  version: { at: 4, type: "u32" },
  backingFileOffset: { at: 8, type: "u64" },
  backingFileSize: { at: 16, type: "u32" },
  clusterBits: { at: 20, type: "u32" },
  size: { at: 24, type: "u64" },
  cryptMethod: { at: 32, type: "u32" },
  l1Size: { at: 36, type: "u32" },
  l1TableOffset: { at: 40, type: "u64" },
  refcountTableOffset: { at: 48, type: "u64" },
  refcountTableClusters: { at: 56, type: "u32" },
  snapshotCount: { at: 60, type: "u32" },
  snapshotsOffset: { at: 64, type: "u64" },
});

export const V3_HEADER = struct("qcow2 header, version 3", "big", {
  incompatible: { at: 72, type: "u64" },
  compatible: { at: 80, type: "u64" },
  autoclear: { at: 88, type: "u64" },
  refcountOrder: { at: 96, type: "u32" },
  headerLength: { at: 100, type: "u32" },
});

/** Byte of the compression type, present when the header is longer than this ("Additional fields"). */
const COMPRESSION_TYPE_AT = 104;

/** A validated header; offsets and sizes in bytes. */
export interface Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterSize: number;
  /** Virtual disk size. */
  readonly size: number;
  readonly cryptMethod: number;
  /** Entries in the active L1 table. */
  readonly l1Size: number;
  readonly l1TableOffset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly refcountBits: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  readonly incompatible: bigint;
  readonly compatible: bigint;
  readonly autoclear: bigint;
  readonly headerLength: number;
  /** 0 deflate, 1 zstd. */
  readonly compressionType: number;
  readonly backingName: { readonly offset: number; readonly length: number } | null;
}

function corrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "qcow2", offset });
}

/**
 * Decodes and validates the fields of a header whose first bytes (at least 112, or the whole file) are given.
 * Throws `corrupt`, `limit`, or `unsupported` for a version that is neither 2 nor 3.
 */
export function parseHeader(bytes: Uint8Array, limits: Limits): Header {
  if (bytes.length < V2_HEADER.size) throw corrupt("the file ends inside the qcow2 header", bytes.length);
  const h = V2_HEADER.decode(bytes);
  if (h.magic !== QCOW_MAGIC) throw corrupt("no qcow2 magic", 0);
  if (h.version !== 2 && h.version !== 3) {
    throw new StorageError("unsupported", `qcow version ${h.version} is not supported`, {
      layer: "qcow2",
      offset: 4,
      feature: `version ${h.version}`,
    });
  }
  if (h.clusterBits < MIN_CLUSTER_BITS || h.clusterBits > MAX_CLUSTER_BITS) {
    throw corrupt(`cluster_bits is ${h.clusterBits}, outside ${MIN_CLUSTER_BITS} to ${MAX_CLUSTER_BITS}`, 20);
  }
  const extra = h.version === 3 ? version3(bytes) : VERSION_2_EXTRA;
  const clusterSize = 2 ** h.clusterBits;
  if ((extra.incompatible & EXTENDED_L2) !== 0n && h.clusterBits < MIN_EXTENDED_CLUSTER_BITS) {
    throw corrupt(`cluster_bits is ${h.clusterBits}; extended L2 entries need ${MIN_EXTENDED_CLUSTER_BITS}`, 20);
  }
  if (extra.headerLength > clusterSize)
    throw corrupt(`header_length is ${extra.headerLength}, beyond the first cluster`, 100);
  return {
    version: h.version,
    clusterBits: h.clusterBits,
    clusterSize,
    size: safeNumber(h.size, "the virtual size", "qcow2", 24),
    cryptMethod: h.cryptMethod,
    ...tables(h, clusterSize, l2EntryBytes(extra.incompatible), limits),
    ...extra,
    backingName: backingName(h, clusterSize),
  };
}

const VERSION_2_EXTRA = {
  incompatible: 0n,
  compatible: 0n,
  autoclear: 0n,
  refcountBits: 2 ** V2_REFCOUNT_ORDER,
  headerLength: V2_HEADER.size,
  compressionType: 0,
};

function version3(bytes: Uint8Array): typeof VERSION_2_EXTRA {
  if (bytes.length < V3_HEADER.size) throw corrupt("the file ends inside the qcow2 header", bytes.length);
  const e = V3_HEADER.decode(bytes);
  if (e.headerLength < V3_HEADER.size || e.headerLength % 8 !== 0) {
    throw corrupt(`header_length is ${e.headerLength}; it must be a multiple of 8, at least ${V3_HEADER.size}`, 100);
  }
  if (e.refcountOrder > MAX_REFCOUNT_ORDER)
    throw corrupt(`refcount_order is ${e.refcountOrder}, above ${MAX_REFCOUNT_ORDER}`, 96);
  const compressionType = e.headerLength > COMPRESSION_TYPE_AT ? (bytes[COMPRESSION_TYPE_AT] ?? 0) : 0;
  if (((e.incompatible & COMPRESSION_TYPE) !== 0n) !== (compressionType !== 0)) {
    throw corrupt("the compression type contradicts its incompatible feature bit", COMPRESSION_TYPE_AT);
  }
  return {
    incompatible: e.incompatible,
    compatible: e.compatible,
    autoclear: e.autoclear,
    refcountBits: 2 ** e.refcountOrder,
    headerLength: e.headerLength,
    compressionType,
  };
}

function tables(h: Decoded<typeof V2_HEADER.fields>, clusterSize: number, entryBytes: number, limits: Limits) {
  const aligned = (value: bigint, field: string, at: number): number => {
    const offset = safeNumber(value, field, "qcow2", at);
    if (offset % clusterSize !== 0) throw corrupt(`${field} ${offset} is not on a cluster boundary`, at);
    return offset;
  };
  const l1TableOffset = aligned(h.l1TableOffset, "the L1 table's offset", 40);
  const refcountTableOffset = aligned(h.refcountTableOffset, "the refcount table's offset", 48);
  const snapshotsOffset = h.snapshotCount === 0 ? 0 : aligned(h.snapshotsOffset, "the snapshot table's offset", 64);
  withinLimit(h.l1Size * 8, limits.qcow2L1Bytes, "qcow2L1Bytes", "bytes of the L1 table", "qcow2", 36);
  withinLimit(
    h.refcountTableClusters * clusterSize,
    limits.qcow2RefcountTableBytes,
    "qcow2RefcountTableBytes",
    "bytes of the refcount table",
    "qcow2",
    56,
  );
  withinLimit(h.snapshotCount, limits.qcow2Snapshots, "qcow2Snapshots", "snapshots", "qcow2", 60);
  const covered = Math.ceil(Number(h.size) / (clusterSize * (clusterSize / entryBytes)));
  if (h.l1Size < covered) throw corrupt(`the L1 table has ${h.l1Size} entries, the virtual size needs ${covered}`, 36);
  if (h.l1Size > 0 && l1TableOffset === 0) throw corrupt("the L1 table lies on the header", 40);
  if (refcountTableOffset === 0) throw corrupt("the refcount table lies on the header", 48);
  if (h.snapshotCount > 0 && snapshotsOffset === 0) throw corrupt("the snapshot table lies on the header", 64);
  if (h.refcountTableClusters === 0) throw corrupt("the refcount table is empty", 56);
  return {
    l1Size: h.l1Size,
    l1TableOffset,
    refcountTableOffset,
    refcountTableClusters: h.refcountTableClusters,
    snapshotCount: h.snapshotCount,
    snapshotsOffset,
  };
}

function backingName(h: Decoded<typeof V2_HEADER.fields>, clusterSize: number): Header["backingName"] {
  if (h.backingFileOffset === 0n) return null;
  const offset = safeNumber(h.backingFileOffset, "the backing file name's offset", "qcow2", 8);
  if (h.backingFileSize > MAX_BACKING_NAME || offset + h.backingFileSize > clusterSize) {
    throw corrupt("the backing file's name reaches beyond the first cluster", 8);
  }
  return { offset, length: h.backingFileSize };
}
