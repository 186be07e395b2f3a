import { StorageError } from "../../core/errors.ts";
import type { Geometry } from "./geometry.ts";

/** Bits of table entries in their upper (bits 32-63) and lower halves ("Cluster mapping"). */
const COPIED_HI = 0x80000000;
const COMPRESSED_HI = 0x40000000;
const OFFSET_HI = 0x00ffffff;
const RESERVED_L1_HI = 0x7f000000;
const RESERVED_L2_HI = 0x3f000000;
const OFFSET_LO = 0xfffffe00;
const ZERO_LO = 1;
const RESERVED_L1_LO = 0x1ff;
const RESERVED_L2_LO = 0x1fe;

/** `host` of an entry that names no host cluster; with an external data file 0 is a place like any other. */
export const NOWHERE = -1;

/**
 * What one subcluster is; in an image without extended L2 entries a cluster is its own only subcluster.
 * `zero-allocated`: reads as zeros and has a place in a host cluster. `unfilled`: has a place, but reads as if it were unallocated.
 */
export type EntryKind = "unallocated" | "unfilled" | "zero" | "zero-allocated" | "data" | "compressed";

/** What an L2 entry says about a cluster that is not compressed. */
export interface EntryFields {
  /** Byte offset of the host cluster, or NOWHERE. */
  readonly host: number;
  /** The host cluster's refcount is exactly one. */
  readonly copied: boolean;
  /** Bit n: subcluster n lies in the host cluster. */
  readonly filled: number;
  /** Bit n: subcluster n reads as zeros. */
  readonly zeros: number;
}

/** A decoded L2 entry; reused by hot loops, so take what you need before the next `load()`. */
export class L2Entry implements EntryFields {
  compressed = false;
  host = NOWHERE;
  copied = false;
  filled = 0;
  zeros = 0;
  readonly #g: Geometry;

  constructor(geometry: Geometry) {
    this.#g = geometry;
  }

  /** Decodes entry `index` of a slice that lies at `at` in the file. Throws `corrupt` for reserved bits and misplacement. */
  load(view: DataView, index: number, at: number): void {
    const { entryBytes, extended, external, version, clusterSize } = this.#g;
    const here = index * entryBytes;
    const hi = view.getUint32(here);
    const lo = view.getUint32(here + 4);
    this.compressed = false;
    this.host = NOWHERE;
    this.copied = false;
    this.zeros = extended ? view.getUint32(here + 8) : 0;
    this.filled = extended ? view.getUint32(here + 12) : 0;
    if (hi === 0 && lo === 0) {
      if (this.filled !== 0) throw damaged("subclusters that are allocated without a host cluster", at + here);
      return;
    }
    if ((hi & COMPRESSED_HI) !== 0) {
      if ((hi & COPIED_HI) !== 0) throw damaged("a compressed cluster with the COPIED flag", at + here);
      if (this.zeros !== 0 || this.filled !== 0)
        throw damaged("a compressed cluster with a subcluster bitmap", at + here);
      if (external) throw damaged("a compressed cluster in an image with an external data file", at + here);
      this.compressed = true;
      return;
    }
    if ((hi & RESERVED_L2_HI) !== 0 || (lo & RESERVED_L2_LO) !== 0) {
      throw damaged("an L2 entry with reserved bits set", at + here);
    }
    const host = (hi & OFFSET_HI) * 2 ** 32 + ((lo & OFFSET_LO) >>> 0);
    const zero = (lo & ZERO_LO) !== 0;
    if (zero && version < 3) throw damaged("a zero cluster in a version 2 image", at + here);
    if (zero && extended) throw damaged("an extended L2 entry with the zero flag", at + here);
    if (host % clusterSize !== 0) throw damaged(`a cluster at ${host}, not on a cluster boundary`, at + here);
    this.copied = (hi & COPIED_HI) !== 0;
    if (host !== 0 || (external && this.copied)) this.host = host;
    else if (this.copied) throw damaged("a cluster that lies on the header", at + here);
    if (!extended) {
      this.zeros = zero ? 1 : 0;
      this.filled = zero || this.host === NOWHERE ? 0 : 1;
    } else if ((this.zeros & this.filled) !== 0) {
      throw damaged("a subcluster that is both allocated and zero", at + here);
    } else if (this.filled !== 0 && this.host === NOWHERE) {
      throw damaged("subclusters that are allocated without a host cluster", at + here);
    }
  }

  kind(subcluster: number): EntryKind {
    if (this.compressed) return "compressed";
    if (((this.filled >>> subcluster) & 1) !== 0) return "data";
    const placed = this.host !== NOWHERE;
    if (((this.zeros >>> subcluster) & 1) !== 0) return placed ? "zero-allocated" : "zero";
    return placed ? "unfilled" : "unallocated";
  }

  /** How many subclusters from `subcluster` to the cluster's end are of the same kind. */
  alike(subcluster: number): number {
    const { subclusters } = this.#g;
    if (this.compressed) return subclusters - subcluster;
    const kind = this.kind(subcluster);
    let n = 1;
    while (subcluster + n < subclusters && this.kind(subcluster + n) === kind) n++;
    return n;
  }
}

function damaged(what: string, offset: number): StorageError {
  return new StorageError("corrupt", what, { layer: "qcow2", offset });
}

/** Bits of the subclusters `first` up to but not including `end`. */
export function subclusterBits(first: number, end: number): number {
  return (2 ** end - 2 ** first) >>> 0;
}

/** Puts a standard or extended entry for a cluster that is not compressed into a slice. */
export function putEntry(g: Geometry, view: DataView, index: number, e: EntryFields): void {
  const at = index * g.entryBytes;
  const host = e.host === NOWHERE ? 0 : e.host;
  const copied = e.copied && e.host !== NOWHERE ? COPIED_HI : 0;
  view.setUint32(at, (Math.floor(host / 2 ** 32) | copied) >>> 0);
  view.setUint32(at + 4, (host % 2 ** 32) + (!g.extended && e.zeros !== 0 ? ZERO_LO : 0));
  if (!g.extended) return;
  view.setUint32(at + 8, e.zeros >>> 0);
  view.setUint32(at + 12, e.filled >>> 0);
}

/** Sets or clears only the COPIED flag of an L1 or L2 entry at byte `at` of a table. True when it was different. */
export function putCopied(view: DataView, at: number, copied: boolean): boolean {
  const hi = view.getUint32(at);
  if (((hi & COPIED_HI) !== 0) === copied) return false;
  view.setUint32(at, (copied ? hi | COPIED_HI : hi & ~COPIED_HI) >>> 0);
  return true;
}

export interface TableEntry {
  /** Byte offset of the table; 0: none. */
  readonly offset: number;
  readonly copied: boolean;
}

/** Decodes an L1 entry. `at` is its own offset in the file, for the error. */
export function decodeL1(view: DataView, index: number, clusterSize: number, at: number): TableEntry {
  const hi = view.getUint32(index * 8);
  const lo = view.getUint32(index * 8 + 4);
  if ((hi & RESERVED_L1_HI) !== 0 || (lo & RESERVED_L1_LO) !== 0)
    throw damaged("an L1 entry with reserved bits set", at);
  const offset = (hi & OFFSET_HI) * 2 ** 32 + ((lo & OFFSET_LO) >>> 0);
  if (offset % clusterSize !== 0) throw damaged(`an L2 table at ${offset}, not on a cluster boundary`, at);
  return { offset, copied: (hi & COPIED_HI) !== 0 };
}

export interface CompressedRange {
  /** First byte of the compressed data in the file. */
  readonly offset: number;
  /** Bytes up to the end of the last 512-byte sector used. */
  readonly length: number;
}

/** Decodes a compressed cluster descriptor ("Compressed Clusters Descriptor"). */
export function decodeCompressed(g: Geometry, view: DataView, index: number, at: number): CompressedRange {
  const here = index * g.entryBytes;
  const entry = view.getBigUint64(here) & 0x3fff_ffff_ffff_ffffn;
  const x = BigInt(62 - (g.clusterBits - 8));
  const offset = entry & ((1n << x) - 1n);
  const sectors = Number(entry >> x) + 1;
  // Bits above 55 of the offset field must be zero.
  if (offset >= 1n << 56n || offset > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw damaged("a compressed cluster with reserved bits set", at + here);
  }
  const start = Number(offset);
  return { offset: start, length: sectors * 512 - (start % 512) };
}
