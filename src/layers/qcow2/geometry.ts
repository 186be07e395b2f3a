import type { Header } from "./header.ts";

/** Bytes of a table that are cached and written together; QEMU's l2-cache-entry-size is also at least a page. */
const SLICE_BYTES = 4096;

/** Numbers that follow from the header; all below 2^53. */
export interface Geometry {
  readonly clusterSize: number;
  readonly clusterBits: number;
  readonly version: 2 | 3;
  /** Virtual size in bytes. */
  readonly size: number;
  /** Guest clusters, the last one may be partial. */
  readonly guestClusters: number;
  /** Entries in one L2 table (8 bytes each). */
  readonly l2Entries: number;
  /** L2 entries in one slice of a table. */
  readonly sliceEntries: number;
  readonly sliceBytes: number;
  readonly refcountBits: number;
  /** Refcounts in one refcount block. */
  readonly blockEntries: number;
  /** Refcounts in one slice of a block. */
  readonly blockSliceEntries: number;
}

export function geometryOf(h: Header): Geometry {
  const sliceBytes = Math.min(h.clusterSize, SLICE_BYTES);
  return {
    clusterSize: h.clusterSize,
    clusterBits: h.clusterBits,
    version: h.version,
    size: h.size,
    guestClusters: Math.ceil(h.size / h.clusterSize),
    l2Entries: h.clusterSize / 8,
    sliceEntries: sliceBytes / 8,
    sliceBytes,
    refcountBits: h.refcountBits,
    blockEntries: (h.clusterSize * 8) / h.refcountBits,
    blockSliceEntries: (sliceBytes * 8) / h.refcountBits,
  };
}
