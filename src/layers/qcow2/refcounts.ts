import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { withinLimit } from "../../core/numbers.ts";
import type { Container } from "./container.ts";
import type { Geometry } from "./geometry.ts";
import type { Header } from "./header.ts";
import { type Layout, TABLE_AREA } from "./layout.ts";
import { type RefcountCodec, refcountCodec } from "./refcount-width.ts";
import { type Slice, SliceCache } from "./slice-cache.ts";

/** Offset of refcount_table_offset and refcount_table_clusters, which lie side by side in the header. */
export const TABLE_FIELDS_AT = 48;
/** A full refcount table is replaced by one half as large again, as QEMU does. */
const TABLE_GROWTH = 1.5;

/** A run of host clusters. */
export interface ClusterRun {
  readonly first: number;
  readonly count: number;
}

export interface RefcountsOptions {
  readonly container: Container;
  readonly geometry: Geometry;
  readonly header: Header;
  readonly layout: Layout;
  readonly limits: Limits;
  readonly cacheBytes: number;
  /** Called for each cluster whose refcount has become 0. */
  readonly onFree: (cluster: number) => void;
}

/**
 * Refcounts of host clusters: increments (always 0 to 1: allocation) take effect in memory at once, decrements are kept
 * back until `applyReleases()`. So the file never counts fewer references than there are, provided that the caller
 * writes increments before the tables that use them, and applies releases after the tables that used them.
 */
export class Refcounts {
  readonly #container: Container;
  readonly #g: Geometry;
  readonly #layout: Layout;
  readonly #limits: Limits;
  readonly #codec: RefcountCodec;
  readonly #blocks: SliceCache;
  /** The refcount table as on disk, with entries of new blocks. */
  #table: DataView;
  #tableOffset: number;
  readonly #dirtyEntries = new Set<number>();
  /** Host cluster to references to give up. */
  readonly #releases = new Map<number, number>();
  /** Clusters below this one were seen in use. */
  #cursor = 0;
  readonly #onFree: (cluster: number) => void;

  private constructor(o: RefcountsOptions, table: Uint8Array) {
    this.#container = o.container;
    this.#g = o.geometry;
    this.#layout = o.layout;
    this.#limits = o.limits;
    this.#codec = refcountCodec(o.geometry.refcountBits);
    this.#blocks = new SliceCache(o.container, "a refcount block", o.geometry.sliceBytes, o.cacheBytes);
    this.#table = new DataView(table.buffer, table.byteOffset, table.byteLength);
    this.#tableOffset = o.header.refcountTableOffset;
    this.#onFree = o.onFree;
    for (let i = 0; i < this.#entries; i++) {
      const offset = this.#blockOffset(i);
      if (offset !== 0 && !o.layout.addTable(offset)) {
        throw new StorageError("corrupt", "two refcount blocks lie on the same cluster", { layer: "qcow2", offset });
      }
    }
  }

  /** Reads the refcount table and enters it and its blocks into the layout. */
  static async open(o: RefcountsOptions): Promise<Refcounts> {
    const length = o.header.refcountTableClusters * o.geometry.clusterSize;
    const table = await o.container.readTable(o.header.refcountTableOffset, length, TABLE_AREA);
    o.layout.removeArea(TABLE_AREA);
    o.layout.addArea(TABLE_AREA, o.header.refcountTableOffset, length);
    return new Refcounts(o, table);
  }

  get #entries(): number {
    return this.#table.byteLength / 8;
  }

  /** Something waits to be written or given up. */
  get pending(): boolean {
    return this.#blocks.dirtyCount > 0 || this.#dirtyEntries.size > 0 || this.#releases.size > 0;
  }

  get hasReleases(): boolean {
    return this.#releases.size > 0;
  }

  get crowded(): boolean {
    return this.#blocks.crowded || this.#releases.size > MAX_RELEASES;
  }

  /** Throws `corrupt` unless every cluster of the run has exactly one reference and is no table: then it may be overwritten. */
  async verifyExclusive(run: ClusterRun): Promise<void> {
    await this.#each(run, (cluster, slice, index) => {
      const count = slice ? this.#codec.get(slice.view, index) : 0;
      if (count !== 1) throw this.#corrupt(`a cluster marked as not shared has the refcount ${count}`, cluster);
      const owner = this.#layout.at(cluster);
      if (owner !== null) throw this.#corrupt(`guest data lies on ${owner}`, cluster);
    });
  }

  /** Throws `corrupt` unless the L2 table at host cluster `cluster` has exactly one reference. */
  async verifyTable(cluster: number): Promise<void> {
    await this.#each({ first: cluster, count: 1 }, (_, slice, index) => {
      const count = slice ? this.#codec.get(slice.view, index) : 0;
      if (count !== 1) throw this.#corrupt(`an L2 table marked as not shared has the refcount ${count}`, cluster);
      const owner = this.#layout.area(cluster);
      if (owner !== null) throw this.#corrupt(`an L2 table lies on ${owner}`, cluster);
    });
  }

  /** Allocates one to `max` neighbouring clusters (refcount 1). */
  async allocate(max: number): Promise<ClusterRun> {
    for (;;) {
      const cluster = this.#cursor;
      const block = Math.floor(cluster / this.#g.blockEntries);
      if (block >= this.#entries) {
        await this.#growTable();
        continue;
      }
      if (this.#blockOffset(block) === 0) {
        await this.#createBlock(block, cluster);
        continue;
      }
      const slice = await this.#slice(cluster);
      const run = slice ? this.#findFree(slice, cluster, max) : null;
      if (!run || !slice) continue;
      await this.#container.room((run.first + run.count) * this.#g.clusterSize);
      const base = run.first % this.#g.blockSliceEntries;
      for (let i = 0; i < run.count; i++) this.#codec.set(slice.view, base + i, 1);
      this.#blocks.markDirty(slice);
      this.#cursor = run.first + run.count;
      return run;
    }
  }

  /** One reference less for each cluster of the runs, once the tables no longer name them. All of them or, on an error, none. */
  async release(...runs: readonly ClusterRun[]): Promise<void> {
    const more = new Map<number, number>();
    for (const run of runs) {
      await this.#each(run, (cluster, slice, index) => {
        const count = slice ? this.#codec.get(slice.view, index) : 0;
        const waiting = more.get(cluster) ?? this.#releases.get(cluster) ?? 0;
        if (count <= waiting || !Number.isSafeInteger(count)) {
          throw this.#corrupt(`a cluster in use has the refcount ${count - waiting}`, cluster);
        }
        more.set(cluster, waiting + 1);
      });
    }
    for (const [cluster, total] of more) this.#releases.set(cluster, total);
  }

  /** Writes increments and new blocks, and after a flush the table that names the blocks. Ends with a flush. */
  async writeIncrements(): Promise<void> {
    await this.#blocks.writeDirty();
    await this.#container.flush();
    if (this.#dirtyEntries.size === 0) return;
    for (const block of this.#dirtyEntries) {
      const entry = new Uint8Array(this.#table.buffer, this.#table.byteOffset + block * 8, 8);
      await this.#container.write(entry, this.#tableOffset + block * 8);
    }
    await this.#container.flush();
    this.#dirtyEntries.clear();
  }

  /** Gives up what was released; the tables that named it must be durable without it. No flush: at worst it leaks. */
  async applyReleases(): Promise<void> {
    const clusters = [...this.#releases.keys()].sort((a, b) => a - b);
    for (const cluster of clusters) {
      const slice = await this.#slice(cluster);
      const less = this.#releases.get(cluster);
      if (!slice || less === undefined) throw this.#corrupt("a refcount block is gone", cluster);
      const index = cluster % this.#g.blockSliceEntries;
      const left = this.#codec.get(slice.view, index) - less;
      this.#codec.set(slice.view, index, left);
      this.#blocks.markDirty(slice);
      this.#releases.delete(cluster);
      if (left === 0) {
        if (cluster < this.#cursor) this.#cursor = cluster;
        this.#layout.removeTable(cluster);
        this.#onFree(cluster);
      }
      if (this.#blocks.crowded) await this.#blocks.writeDirty();
    }
    await this.#blocks.writeDirty();
  }

  /** First free run in the rest of this slice; moves the cursor past the slice when there is none. */
  #findFree(slice: Slice, from: number, max: number): ClusterRun | null {
    const per = this.#g.blockSliceEntries;
    const base = from - (from % per);
    let i = from - base;
    while (i < per && this.#codec.get(slice.view, i) !== 0) i++;
    if (i === per) {
      this.#cursor = base + per;
      return null;
    }
    let n = 0;
    while (i + n < per && n < max && this.#codec.get(slice.view, i + n) === 0) {
      this.#mustBeFree(base + i + n);
      n++;
    }
    return { first: base + i, count: n };
  }

  #mustBeFree(cluster: number): void {
    const owner = this.#layout.at(cluster);
    if (owner !== null) throw this.#corrupt(`the refcount of a cluster is 0, but it holds ${owner}`, cluster);
  }

  /** A block whose first free cluster is its own place: it counts itself. */
  async #createBlock(block: number, cluster: number): Promise<void> {
    this.#mustBeFree(cluster);
    await this.#writeBlock(cluster, cluster, 1);
    this.#setEntry(block, cluster);
    this.#cursor = cluster + 1;
  }

  /** Writes a new refcount block at host cluster `at` that gives `count` clusters from `first` the refcount 1. */
  async #writeBlock(at: number, first: number, count: number): Promise<void> {
    const bytes = new Uint8Array(this.#g.clusterSize);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) this.#codec.set(view, (first % this.#g.blockEntries) + i, 1);
    this.#blocks.drop(at * this.#g.clusterSize, this.#g.clusterSize);
    await this.#container.write(bytes, at * this.#g.clusterSize);
  }

  #setEntry(block: number, cluster: number): void {
    this.#table.setBigUint64(block * 8, BigInt(cluster * this.#g.clusterSize));
    this.#dirtyEntries.add(block);
    this.#layout.addTable(cluster * this.#g.clusterSize);
  }

  /**
   * Replaces the full table by a larger one. It and the blocks that count it lie behind everything the old table could
   * count; the header is switched after they are durable, in one write inside one sector.
   */
  async #growTable(): Promise<void> {
    const { clusterSize, blockEntries } = this.#g;
    const old = { offset: this.#tableOffset, clusters: this.#table.byteLength / clusterSize, entries: this.#entries };
    const start = old.entries * blockEntries;
    const plan = planTable(old.entries, clusterSize, blockEntries);
    withinLimit(
      plan.tableClusters * clusterSize,
      this.#limits.qcow2RefcountTableBytes,
      "qcow2RefcountTableBytes",
      "bytes of the refcount table",
      "qcow2",
    );
    const total = plan.blocks + plan.tableClusters;
    for (let i = 0; i < total; i++) this.#mustBeFree(start + i);
    await this.#container.room((start + total) * clusterSize);

    const table = new Uint8Array(plan.tableClusters * clusterSize);
    table.set(new Uint8Array(this.#table.buffer, this.#table.byteOffset, this.#table.byteLength));
    const view = new DataView(table.buffer);
    for (let b = 0; b < plan.blocks; b++) {
      const counted = Math.min(blockEntries, total - b * blockEntries);
      await this.#writeBlock(start + b, start + b * blockEntries, counted);
      view.setBigUint64((old.entries + b) * 8, BigInt((start + b) * clusterSize));
    }
    const offset = (start + plan.blocks) * clusterSize;
    await this.#container.write(table, offset);
    await this.#blocks.writeDirty();
    await this.#container.flush();
    const fields = new Uint8Array(12);
    const fieldsView = new DataView(fields.buffer);
    fieldsView.setBigUint64(0, BigInt(offset));
    fieldsView.setUint32(8, plan.tableClusters);
    await this.#container.critical(async () => {
      await this.#container.write(fields, TABLE_FIELDS_AT);
      await this.#container.flush();
    });

    this.#table = view;
    this.#tableOffset = offset;
    this.#dirtyEntries.clear();
    for (let b = 0; b < plan.blocks; b++) this.#layout.addTable((start + b) * clusterSize);
    this.#layout.removeArea(TABLE_AREA);
    this.#layout.addArea(TABLE_AREA, offset, table.length);
    this.#cursor = start + total;
    await this.release({ first: old.offset / clusterSize, count: old.clusters });
  }

  #blockOffset(block: number): number {
    const hi = this.#table.getUint32(block * 8);
    const lo = this.#table.getUint32(block * 8 + 4);
    const offset = hi * 2 ** 32 + lo;
    // Bits 0-8 are reserved; the alignment covers them ("Refcount table entry").
    if (offset % this.#g.clusterSize !== 0 || !Number.isSafeInteger(offset)) {
      throw new StorageError("corrupt", `a refcount block at ${offset}, not on a cluster boundary`, {
        layer: "qcow2",
        offset: this.#tableOffset + block * 8,
      });
    }
    return offset;
  }

  async #slice(cluster: number): Promise<Slice | null> {
    const block = Math.floor(cluster / this.#g.blockEntries);
    const offset = block < this.#entries ? this.#blockOffset(block) : 0;
    if (offset === 0) return null;
    const inBlock = cluster % this.#g.blockEntries;
    const at = offset + Math.floor(inBlock / this.#g.blockSliceEntries) * this.#g.sliceBytes;
    return this.#blocks.peek(at) ?? (await this.#blocks.load(at));
  }

  /** Calls `visit` for each cluster of the run; the slice is null where there is no refcount block. */
  async #each(run: ClusterRun, visit: (cluster: number, slice: Slice | null, index: number) => void): Promise<void> {
    const per = this.#g.blockSliceEntries;
    const end = run.first + run.count;
    for (let cluster = run.first; cluster < end; ) {
      const slice = await this.#slice(cluster);
      const stop = Math.min(end, cluster - (cluster % per) + per);
      for (; cluster < stop; cluster++) visit(cluster, slice, cluster % per);
    }
  }

  #corrupt(message: string, cluster: number): StorageError {
    return new StorageError("corrupt", message, {
      layer: "qcow2",
      offset: cluster * this.#g.clusterSize,
      hint: "repair the image with `qemu-img check -r all` (make a copy first)",
    });
  }
}

/** Releases that may wait before the caller should commit. */
const MAX_RELEASES = 65536;

/** Size of a new table and of the blocks for what is added; both lie behind the old table's reach. */
function planTable(
  oldEntries: number,
  clusterSize: number,
  blockEntries: number,
): { tableClusters: number; blocks: number } {
  let blocks = 1;
  for (;;) {
    const entries = Math.max(Math.ceil(oldEntries * TABLE_GROWTH), oldEntries + blocks);
    const tableClusters = Math.ceil((entries * 8) / clusterSize);
    const needed = Math.ceil((tableClusters + blocks) / blockEntries);
    if (needed <= blocks) return { tableClusters, blocks };
    blocks = needed;
  }
}
