import { DATA_FILE, EXTENDED_L2 } from "./features.ts";
import type { Header } from "./header.ts";

/** Bytes of a table that are cached and written together; QEMU's l2-cache-entry-size is also at least a page. */
const SLICE_BYTES = 4096;
/** Subclusters of a cluster in an image with extended L2 entries ("Extended L2 Entries"). */
const SUBCLUSTERS = 32;

/** Numbers that follow from the header; all below 2^53. */
export interface Geometry {
  readonly clusterSize: number;
  readonly clusterBits: number;
  readonly version: 2 | 3;
  /** Virtual size in bytes. */
  readonly size: number;
  /** Guest clusters, the last one may be partial. */
  readonly guestClusters: number;
  /** Extended L2 entries: 16 bytes each, with a bitmap of 32 subclusters. */
  readonly extended: boolean;
  /** Guest clusters lie in another file, each at its guest offset, and are not counted. */
  readonly external: boolean;
  /** Bytes of one L2 entry: 8 or 16. */
  readonly entryBytes: number;
  /** Parts of a cluster that are allocated one by one: 1 or 32. */
  readonly subclusters: number;
  readonly subclusterSize: number;
  /** L1 entries that the disk needs. */
  readonly l1Entries: number;
  /** Entries in one L2 table. */
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

/** `size`: of the virtual disk in bytes, when it is not the active one's (a snapshot's). */
export function geometryOf(h: Header, size: number = h.size): Geometry {
  const sliceBytes = Math.min(h.clusterSize, SLICE_BYTES);
  const extended = (h.incompatible & EXTENDED_L2) !== 0n;
  const entryBytes = l2EntryBytes(h.incompatible);
  const subclusters = extended ? SUBCLUSTERS : 1;
  return {
    clusterSize: h.clusterSize,
    clusterBits: h.clusterBits,
    version: h.version,
    size,
    guestClusters: Math.ceil(size / h.clusterSize),
    extended,
    external: (h.incompatible & DATA_FILE) !== 0n,
    entryBytes,
    subclusters,
    subclusterSize: h.clusterSize / subclusters,
    l1Entries: Math.ceil(size / (h.clusterSize * (h.clusterSize / entryBytes))),
    l2Entries: h.clusterSize / entryBytes,
    sliceEntries: sliceBytes / entryBytes,
    sliceBytes,
    refcountBits: h.refcountBits,
    blockEntries: (h.clusterSize * 8) / h.refcountBits,
    blockSliceEntries: (sliceBytes * 8) / h.refcountBits,
  };
}

/** Bytes of an L2 entry in an image with these incompatible features. */
export function l2EntryBytes(incompatible: bigint): number {
  return (incompatible & EXTENDED_L2) !== 0n ? 16 : 8;
}
