import { StorageError } from "../../core/errors.ts";
import type { Container } from "./container.ts";
import type { GuestData } from "./data.ts";
import { type CompressedRange, decodeCompressed, decodeL1, L2Entry, NOWHERE, type TableEntry } from "./entry.ts";
import type { Geometry } from "./geometry.ts";
import type { Layout } from "./layout.ts";
import { type Slice, SliceCache } from "./slice-cache.ts";

/** Bytes of the L1 table that are written together: one sector. */
const L1_PIECE = 512;

/** Consecutive guest bytes of one kind; those with a place lie in consecutive host bytes. Lengths in bytes. */
export type Run =
  | { readonly kind: "unallocated" | "zero"; readonly length: number }
  /** `host` is the byte that the run's first byte maps to. */
  | { readonly kind: "data" | "zero-allocated" | "unfilled"; readonly length: number; readonly host: number }
  | { readonly kind: "compressed"; readonly length: number; readonly range: CompressedRange };

/** Where an L1 table lies: the active one or a snapshot's. */
export interface L1Location {
  readonly offset: number;
  readonly entries: number;
}

/** Where a guest offset's entry is. */
export interface Place {
  readonly l1Index: number;
  /** Byte offset of the slice inside its table. */
  readonly inTable: number;
  /** Index in the slice. */
  readonly index: number;
  /** Guest clusters from here to the end of the slice or of the disk. */
  readonly left: number;
}

/** An L1 table and its L2 tables. */
export class ClusterMap {
  readonly l2: SliceCache;
  readonly #container: Container;
  readonly #g: Geometry;
  readonly #layout: Layout;
  readonly #l1: DataView;
  readonly #l1Offset: number;
  readonly #data: GuestData;
  readonly #entry: L2Entry;
  readonly #dirtyL1 = new Set<number>();

  private constructor(
    container: Container,
    g: Geometry,
    layout: Layout,
    data: GuestData,
    l1: Uint8Array,
    l1Offset: number,
    cacheBytes: number,
  ) {
    this.#container = container;
    this.#g = g;
    this.#layout = layout;
    this.#data = data;
    this.#l1 = new DataView(l1.buffer, l1.byteOffset, l1.byteLength);
    this.#l1Offset = l1Offset;
    this.#entry = new L2Entry(g);
    this.l2 = new SliceCache(container, "an L2 table", g.sliceBytes, cacheBytes);
  }

  static async open(
    container: Container,
    g: Geometry,
    layout: Layout,
    data: GuestData,
    location: L1Location,
    cacheBytes: number,
  ): Promise<ClusterMap> {
    const l1 = await container.readTable(location.offset, location.entries * 8, "the L1 table");
    return new ClusterMap(container, g, layout, data, l1, location.offset, cacheBytes);
  }

  get l1Entries(): number {
    return this.#l1.byteLength / 8;
  }

  get l1Dirty(): boolean {
    return this.#dirtyL1.size > 0;
  }

  /** Reads the tables anew after they were changed on disk; nothing of them may be dirty. */
  async reload(): Promise<void> {
    const there = new Uint8Array(this.#l1.buffer, this.#l1.byteOffset, this.#l1.byteLength);
    there.set(await this.#container.readTable(this.#l1Offset, there.length, "the L1 table"));
    this.l2.clear();
  }

  /** Checked L1 entry; offset 0: no table. */
  table(l1Index: number): TableEntry {
    const at = this.#l1Offset + l1Index * 8;
    const entry = decodeL1(this.#l1, l1Index, this.#g.clusterSize, at);
    if (entry.offset === 0) return entry;
    const area = this.#layout.area(entry.offset / this.#g.clusterSize);
    if (area !== null) throw new StorageError("corrupt", `an L2 table lies on ${area}`, { layer: "qcow2", offset: at });
    return entry;
  }

  /** Names a new table with refcount one. */
  setTable(l1Index: number, offset: number): void {
    this.#l1.setBigUint64(l1Index * 8, BigInt(offset) | (1n << 63n));
    this.#dirtyL1.add(Math.floor((l1Index * 8) / L1_PIECE));
  }

  /** Writes changed sectors of the L1 table. No flush. */
  async writeL1(): Promise<void> {
    for (const piece of [...this.#dirtyL1].sort((a, b) => a - b)) {
      const start = piece * L1_PIECE;
      const length = Math.min(L1_PIECE, this.#l1.byteLength - start);
      const bytes = new Uint8Array(this.#l1.buffer, this.#l1.byteOffset + start, length);
      await this.#container.write(bytes, this.#l1Offset + start);
      this.#dirtyL1.delete(piece);
    }
  }

  /** Where the entry of guest cluster `cluster` is. */
  place(cluster: number): Place {
    const inTable = cluster % this.#g.l2Entries;
    const index = inTable % this.#g.sliceEntries;
    return {
      l1Index: Math.floor(cluster / this.#g.l2Entries),
      inTable: (inTable - index) * this.#g.entryBytes,
      index,
      left: Math.min(this.#g.sliceEntries - index, this.#g.guestClusters - cluster),
    };
  }

  /** The run at guest byte `offset`, at most `length` bytes. */
  async run(offset: number, length: number): Promise<Run> {
    const inCluster = offset % this.#g.clusterSize;
    const cluster = (offset - inCluster) / this.#g.clusterSize;
    const place = this.place(cluster);
    const table = this.table(place.l1Index);
    if (table.offset === 0) return { kind: "unallocated", length: this.#emptyTables(place.l1Index, offset, length) };
    const at = table.offset + place.inTable;
    const slice = this.l2.peek(at) ?? (await this.l2.load(at));
    const most = Math.min(place.left, Math.ceil((inCluster + length) / this.#g.clusterSize));
    return this.#scan(slice, place.index, most, inCluster, length, cluster);
  }

  /** Bytes from `offset`, at most `length`, that are mapped by missing L2 tables, `l1Index` being the first of them. */
  #emptyTables(l1Index: number, offset: number, length: number): number {
    const perTable = this.#g.l2Entries * this.#g.clusterSize;
    let next = l1Index + 1;
    while (next * perTable < offset + length && next < this.l1Entries && this.table(next).offset === 0) next++;
    return Math.min(length, next * perTable - offset);
  }

  /** `first`: index of the entry of guest cluster `cluster`; at most `most` entries are looked at. */
  #scan(slice: Slice, first: number, most: number, inCluster: number, length: number, cluster: number): Run {
    const { clusterSize, subclusterSize, entryBytes } = this.#g;
    const e = this.#entry;
    e.load(slice.view, first, slice.at);
    if (e.compressed) {
      const range = decodeCompressed(this.#g, slice.view, first, slice.at);
      return { kind: "compressed", length: Math.min(length, clusterSize - inCluster), range };
    }
    const { host } = e;
    const subcluster = Math.floor(inCluster / subclusterSize);
    const kind = e.kind(subcluster);
    if (host !== NOWHERE) this.#checkHost(host, cluster, slice.at + first * entryBytes);
    let end = (subcluster + e.alike(subcluster)) * subclusterSize;
    for (let n = 1; n < most && end === n * clusterSize; n++) {
      e.load(slice.view, first + n, slice.at);
      if (e.kind(0) !== kind) break;
      if (host !== NOWHERE) {
        if (e.host !== host + n * clusterSize) break;
        this.#checkHost(e.host, cluster + n, slice.at + (first + n) * entryBytes);
      }
      end += e.alike(0) * subclusterSize;
    }
    const bytes = Math.min(length, end - inCluster);
    return kind === "data" || kind === "zero-allocated" || kind === "unfilled"
      ? { kind, length: bytes, host: host + inCluster }
      : { kind: kind === "zero" ? "zero" : "unallocated", length: bytes };
  }

  #checkHost(host: number, cluster: number, at: number): void {
    this.#data.check(host, cluster, at);
    if (this.#data.external) return;
    const area = this.#layout.area(host / this.#g.clusterSize);
    if (area !== null) throw new StorageError("corrupt", `guest data lies on ${area}`, { layer: "qcow2", offset: at });
  }
}
