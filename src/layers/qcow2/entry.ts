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

/** What one guest cluster is. `zero-allocated` is a zero cluster that keeps a host cluster. */
export type EntryKind = "unallocated" | "zero" | "zero-allocated" | "data" | "compressed";

/** A decoded standard L2 entry; reused by hot loops, so take what you need before the next call. */
export class EntryDecoder {
  kind: EntryKind = "unallocated";
  /** Byte offset of the host cluster (data, zero-allocated), else 0. */
  host = 0;
  /** The host cluster's refcount is exactly one. */
  copied = false;
  readonly #g: Geometry;

  constructor(geometry: Geometry) {
    this.#g = geometry;
  }

  /** Decodes entry `index` of a slice that lies at `at` in the file. Throws `corrupt` for reserved bits and misplacement. */
  decode(view: DataView, index: number, at: number): EntryKind {
    const hi = view.getUint32(index * 8);
    const lo = view.getUint32(index * 8 + 4);
    this.host = 0;
    this.copied = false;
    if (hi === 0 && lo === 0) {
      this.kind = "unallocated";
      return this.kind;
    }
    if ((hi & COMPRESSED_HI) !== 0) {
      if ((hi & COPIED_HI) !== 0) throw damaged("a compressed cluster with the COPIED flag", at + index * 8);
      this.kind = "compressed";
      return this.kind;
    }
    if ((hi & RESERVED_L2_HI) !== 0 || (lo & RESERVED_L2_LO) !== 0) {
      throw damaged("an L2 entry with reserved bits set", at + index * 8);
    }
    const host = (hi & OFFSET_HI) * 2 ** 32 + ((lo & OFFSET_LO) >>> 0);
    const zero = (lo & ZERO_LO) !== 0;
    if (zero && this.#g.version < 3) throw damaged("a zero cluster in a version 2 image", at + index * 8);
    if (host % this.#g.clusterSize !== 0)
      throw damaged(`a cluster at ${host}, not on a cluster boundary`, at + index * 8);
    this.copied = (hi & COPIED_HI) !== 0;
    if (host === 0) {
      if (this.copied) throw damaged("a cluster that lies on the header", at + index * 8);
      this.kind = "zero";
      return this.kind;
    }
    this.host = host;
    this.kind = zero ? "zero-allocated" : "data";
    return this.kind;
  }
}

function damaged(what: string, offset: number): StorageError {
  return new StorageError("corrupt", what, { layer: "qcow2", offset });
}

/** Puts a standard entry for the host cluster at `host` (refcount one) into a slice. */
export function putData(view: DataView, index: number, host: number): void {
  view.setUint32(index * 8, (Math.floor(host / 2 ** 32) | COPIED_HI) >>> 0);
  view.setUint32(index * 8 + 4, host % 2 ** 32);
}

/** Sets the zero flag of a standard entry and leaves its host cluster. */
export function flagZero(view: DataView, index: number): void {
  view.setUint32(index * 8 + 4, (view.getUint32(index * 8 + 4) | ZERO_LO) >>> 0);
}

/** Puts a plain zero cluster, or with `zero` false an unallocated one. */
export function putEmpty(view: DataView, index: number, zero: boolean): void {
  view.setUint32(index * 8, 0);
  view.setUint32(index * 8 + 4, zero ? ZERO_LO : 0);
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
export function decodeCompressed(view: DataView, index: number, clusterBits: number, at: number): CompressedRange {
  const entry = view.getBigUint64(index * 8) & 0x3fff_ffff_ffff_ffffn;
  const x = BigInt(62 - (clusterBits - 8));
  const offset = entry & ((1n << x) - 1n);
  const sectors = Number(entry >> x) + 1;
  // Bits above 55 of the offset field must be zero.
  if (offset >= 1n << 56n || offset > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw damaged("a compressed cluster with reserved bits set", at + index * 8);
  }
  const start = Number(offset);
  return { offset: start, length: sectors * 512 - (start % 512) };
}
