import type { IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { Allocation } from "./allocation.ts";
import type { Container } from "./container.ts";
import type { GuestData } from "./data.ts";
import { L2Entry, NOWHERE, putEntry, subclusterBits } from "./entry.ts";
import type { Geometry } from "./geometry.ts";
import type { Layout } from "./layout.ts";
import type { ClusterMap, Place, Run } from "./mapping.ts";
import type { Reader } from "./reader.ts";
import type { Refcounts } from "./refcounts.ts";
import type { Slice } from "./slice-cache.ts";
import { SubclusterWriter } from "./subclusters.ts";

/** Zeros are written in pieces of at most this many bytes. */
const ZERO_PIECE = 1024 * 1024;

export interface WriterParts {
  readonly container: Container;
  readonly geometry: Geometry;
  readonly layout: Layout;
  readonly map: ClusterMap;
  readonly reader: Reader;
  readonly refcounts: Refcounts;
  readonly data: GuestData;
  readonly hasBacking: boolean;
  /** The external data file must read like the disk without the image: zeros are written out there, and nothing is discarded. */
  readonly rawDataFile: boolean;
}

/**
 * Changes guest bytes. Data goes to the file at once: in place where a cluster is ours alone, else into newly allocated
 * clusters that nothing on disk names yet. Tables change in memory; `commit()` writes them so that after a crash at any
 * write the file counts at least the references that it has:
 *
 *     data and increments | flush | refcount table | flush | L2 tables | flush | L1 table | flush | decrements
 *
 * Not safe for concurrent use; the image holds its lock around every call.
 */
export class Writer {
  readonly #p: WriterParts;
  readonly #g: Geometry;
  readonly #entry: L2Entry;
  readonly #allocation: Allocation;
  readonly #subclusters: SubclusterWriter;

  constructor(parts: WriterParts) {
    this.#p = parts;
    this.#g = parts.geometry;
    this.#entry = new L2Entry(parts.geometry);
    this.#allocation = new Allocation(parts.geometry, parts.refcounts, parts.data);
    this.#subclusters = new SubclusterWriter({ ...parts, allocation: this.#allocation });
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    for (let done = 0; done < from.length; ) {
      await this.#between(options);
      const length = Math.min(from.length - done, this.#toSliceEnd(offset + done));
      await this.#writeSlice(from.subarray(done, done + length), offset + done);
      done += length;
    }
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    if (this.#p.rawDataFile) await this.#writeZeros(offset, length, options);
    else await this.#clear(offset, length, "zero", options);
  }

  async discard(offset: number, length: number): Promise<void> {
    if (!this.#p.rawDataFile) await this.#clear(offset, length, "discard");
  }

  /** Makes the tables on disk say what those in memory say. The last decrements are written, not flushed. */
  async commit(): Promise<void> {
    const { container, map, refcounts, data } = this.#p;
    if (!refcounts.pending && map.l2.dirtyCount === 0 && !map.l1Dirty) return;
    await container.critical(async () => {
      await data.flush();
      await refcounts.writeIncrements();
      if (map.l2.dirtyCount > 0) {
        await map.l2.writeDirty();
        if (map.l1Dirty || refcounts.hasReleases) await container.flush();
      }
      if (map.l1Dirty) {
        await map.writeL1();
        if (refcounts.hasReleases) await container.flush();
      }
      if (refcounts.hasReleases) await refcounts.applyReleases();
    });
  }

  /** Between steps: the place where an abort takes effect and full caches are written. */
  async #between(options?: IoOptions): Promise<void> {
    if (options?.signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "qcow2" });
    if (this.#p.map.l2.crowded || this.#p.refcounts.crowded) await this.commit();
  }

  /** Bytes from `offset` to the end of what one slice of an L2 table maps. */
  #toSliceEnd(offset: number): number {
    const span = this.#g.sliceEntries * this.#g.clusterSize;
    return span - (offset % span);
  }

  #cluster(offset: number): number {
    return Math.floor(offset / this.#g.clusterSize);
  }

  /** The L2 slice of a place, in a table that only the active L1 table uses. */
  async #ownSlice(place: Place): Promise<Slice> {
    const { map, refcounts, container } = this.#p;
    const table = map.table(place.l1Index);
    if (table.offset !== 0 && table.copied) {
      await refcounts.verifyTable(table.offset / this.#g.clusterSize);
      return map.l2.load(table.offset + place.inTable);
    }
    const bytes =
      table.offset === 0
        ? new Uint8Array(this.#g.clusterSize)
        : await container.readTable(table.offset, this.#g.clusterSize, "an L2 table");
    // Clusters that a shared table names already carry one reference per snapshot (QEMU raises them when a snapshot is
    // taken), so a copy of the table changes only the references to the tables themselves.
    const run = await refcounts.allocate(1);
    const offset = run.first * this.#g.clusterSize;
    try {
      map.l2.drop(offset, this.#g.clusterSize);
      await container.write(bytes, offset);
      if (table.offset !== 0) await refcounts.release({ first: table.offset / this.#g.clusterSize, count: 1 });
    } catch (error) {
      await refcounts.release(run);
      throw error;
    }
    this.#p.layout.addTable(offset);
    map.setTable(place.l1Index, offset);
    return map.l2.load(offset + place.inTable);
  }

  /** Writes inside one slice's span. */
  async #writeSlice(from: Uint8Array, offset: number): Promise<void> {
    const slice = await this.#ownSlice(this.#p.map.place(this.#cluster(offset)));
    for (let done = 0; done < from.length; ) {
      const at = offset + done;
      const run = await this.#p.map.run(at, from.length - done);
      const part = from.subarray(done, done + run.length);
      done +=
        (await this.#writeInPlace(slice, run, part, at)) || (await this.#writeElsewhere(slice, run, from, done, at));
    }
  }

  /** Bytes of `from`, from `done` on, written where new clusters or subclusters are needed. */
  #writeElsewhere(slice: Slice, run: Run, from: Uint8Array, done: number, at: number): Promise<number> {
    if (!this.#g.extended) return this.#writeNew(slice, run, from.subarray(done, done + run.length), at);
    const { clusterSize } = this.#g;
    const part = from.subarray(done, done + clusterSize - (at % clusterSize));
    return this.#subclusters.write(slice, this.#p.map.place(this.#cluster(at)).index, part, at);
  }

  /** Bytes written where they belong, or 0 when the run needs new clusters. */
  async #writeInPlace(slice: Slice, run: Run, part: Uint8Array, offset: number): Promise<number> {
    if (run.kind !== "data" && (run.kind !== "zero-allocated" || this.#g.extended)) return 0;
    const { data, map } = this.#p;
    const { clusterSize } = this.#g;
    const index = map.place(this.#cluster(offset)).index;
    const copied = this.#countCopied(slice, index, this.#cluster(offset + run.length - 1) - this.#cluster(offset) + 1);
    if (copied === 0) return 0;
    const inCluster = offset % clusterSize;
    const host = run.host - inCluster;
    await this.#allocation.verifyExclusive({ first: host / clusterSize, count: copied }, this.#cluster(offset));
    const length = Math.min(part.length, copied * clusterSize - inCluster);
    if (run.kind === "data") {
      await data.write(part.subarray(0, length), run.host);
      return length;
    }
    // The entry still says zero: what the host clusters hold is not to be seen, so they are written whole.
    await this.#writeWhole(host, copied, part.subarray(0, length), inCluster, null, offset);
    this.#putData(slice, index, copied, host);
    return length;
  }

  /** How many of `count` standard entries from `index` on have the COPIED flag, up to the first without. */
  #countCopied(slice: Slice, index: number, count: number): number {
    let n = 0;
    while (n < count) {
      this.#entry.load(slice.view, index + n, slice.at);
      if (!this.#entry.copied) break;
      n++;
    }
    return n;
  }

  /** Writes into newly allocated clusters; returns the bytes written, at least to the end of the first cluster. */
  async #writeNew(slice: Slice, run: Run, part: Uint8Array, offset: number): Promise<number> {
    const { clusterSize } = this.#g;
    const inCluster = offset % clusterSize;
    const index = this.#p.map.place(this.#cluster(offset)).index;
    const wanted = Math.ceil((inCluster + part.length) / clusterSize);
    const fresh = await this.#allocation.allocate(this.#cluster(offset), this.#countShared(slice, index, wanted));
    const host = fresh.first * clusterSize;
    const length = Math.min(part.length, fresh.count * clusterSize - inCluster);
    try {
      await this.#writeWhole(host, fresh.count, part.subarray(0, length), inCluster, run, offset);
      await this.#allocation.releaseEntries(slice, index, fresh.count);
    } catch (error) {
      await this.#allocation.giveBack(fresh);
      throw error;
    }
    this.#putData(slice, index, fresh.count, host);
    return length;
  }

  /** Names `count` whole clusters from `host` on, ours alone. */
  #putData(slice: Slice, index: number, count: number, host: number): void {
    const { clusterSize } = this.#g;
    for (let i = 0; i < count; i++) {
      const e = { host: host + i * clusterSize, copied: true, filled: 1, zeros: 0 };
      putEntry(this.#g, slice.view, index + i, e);
    }
    this.#p.map.l2.markDirty(slice);
  }

  /** Length of the stretch without COPIED, at least one. */
  #countShared(slice: Slice, index: number, count: number): number {
    let n = 1;
    while (n < count) {
      this.#entry.load(slice.view, index + n, slice.at);
      if (this.#entry.copied) break;
      n++;
    }
    return n;
  }

  /**
   * Fills `count` whole host clusters from `host`: `part` begins `inCluster` bytes into the first; what it leaves of the first and
   * last is taken from the guest's present content (`old`), or is zero when `old` is null.
   */
  async #writeWhole(
    host: number,
    count: number,
    part: Uint8Array,
    inCluster: number,
    old: Run | null,
    offset: number,
  ): Promise<void> {
    const { data } = this.#p;
    const { clusterSize } = this.#g;
    const tail = count * clusterSize - inCluster - part.length;
    if (inCluster === 0 && tail === 0) return data.write(part, host);
    const start = offset - inCluster;
    const headEnd = inCluster === 0 ? 0 : clusterSize;
    if (headEnd > 0) {
      const cluster = await this.#present(start, old);
      cluster.set(part.subarray(0, clusterSize - inCluster), inCluster);
      await data.write(cluster, host);
    }
    const tailStart = tail === 0 ? count * clusterSize : (count - 1) * clusterSize;
    if (tailStart > headEnd) {
      const middle = part.subarray(headEnd === 0 ? 0 : headEnd - inCluster, tailStart - inCluster);
      await data.write(middle, host + headEnd);
    }
    if (tailStart < count * clusterSize && tailStart >= headEnd) {
      const cluster = await this.#present(start + tailStart, old);
      cluster.set(part.subarray(tailStart - inCluster));
      await data.write(cluster, host + tailStart);
    }
  }

  /** A guest cluster as it reads now; zeros when `old` is null and beyond the end of the disk. */
  async #present(offset: number, old: Run | null): Promise<Uint8Array> {
    const cluster = new Uint8Array(this.#g.clusterSize);
    if (old === null) return cluster;
    const length = Math.min(cluster.length, this.#g.size - offset);
    await this.#p.reader.read(cluster.subarray(0, length), offset);
    return cluster;
  }

  async #clear(offset: number, length: number, how: "zero" | "discard", options?: IoOptions): Promise<void> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      await this.#between(options);
      const most = Math.min(end - at, this.#toSliceEnd(at));
      const run = await this.#p.map.run(at, most);
      if (this.#alreadyClear(run, how)) at += run.length;
      // With subclusters a run may end inside a cluster that is to be cleared whole.
      else at += await this.#clearSome(at, this.#g.extended ? most : run.length, how);
    }
  }

  /** Clears at `at` at least one and at most `length` bytes of one slice's span; returns how many. */
  async #clearSome(at: number, length: number, how: "zero" | "discard"): Promise<number> {
    const { clusterSize, subclusterSize, extended, size } = this.#g;
    const inCluster = at % clusterSize;
    // Whole clusters change their entry; the last cluster of the disk counts as whole up to the disk's end.
    const whole = at + length === size ? length : length - ((at + length) % clusterSize);
    if (inCluster === 0 && whole > 0) {
      await this.#clearWhole(at, whole, how);
      return whole;
    }
    const rest = Math.min(length, clusterSize - inCluster);
    if (how === "discard") return rest;
    const inSubcluster = at % subclusterSize;
    const parts = at + rest === size ? rest : rest - ((at + rest) % subclusterSize);
    if (extended && inSubcluster === 0 && parts > 0) {
      if (await this.#zeroSubclusters(at, parts)) return parts;
    }
    const piece = extended ? Math.min(rest, subclusterSize - inSubcluster) : rest;
    await this.#writeZeros(at, piece);
    return piece;
  }

  #alreadyClear(run: Run, how: "zero" | "discard"): boolean {
    if (run.kind === "unallocated") return how === "discard" || !this.#p.hasBacking;
    if (run.kind === "unfilled") return how === "zero" && !this.#p.hasBacking;
    return run.kind === "zero" || (run.kind === "zero-allocated" && how === "zero");
  }

  /** `length` covers whole clusters from the cluster at `offset` inside one slice. */
  async #clearWhole(offset: number, length: number, how: "zero" | "discard"): Promise<void> {
    const { map, hasBacking } = this.#p;
    const { version, clusterSize, subclusters } = this.#g;
    if (version < 3 && hasBacking) {
      // Version 2 has no zero clusters, and a hole would show the backing file.
      if (how === "zero") await this.#writeZeros(offset, length);
      return;
    }
    const place = map.place(this.#cluster(offset));
    const slice = await this.#ownSlice(place);
    const count = Math.ceil(length / clusterSize);
    const all = subclusterBits(0, subclusters);
    map.l2.markDirty(slice);
    for (let i = place.index; i < place.index + count; i++) {
      this.#entry.load(slice.view, i, slice.at);
      // Zeroing keeps a cluster that is ours for the next write, as QEMU does; a discard gives it back.
      if (how === "zero" && version >= 3 && this.#entry.copied) {
        putEntry(this.#g, slice.view, i, { host: this.#entry.host, copied: true, filled: 0, zeros: all });
      } else {
        await this.#allocation.releaseEntries(slice, i, 1);
        const zeros = version >= 3 && (hasBacking || how === "zero") ? all : 0;
        putEntry(this.#g, slice.view, i, { host: NOWHERE, copied: false, filled: 0, zeros });
      }
    }
  }

  /** Marks whole subclusters of one cluster as zero; the cluster keeps its place. False: it is compressed, so it has none. */
  async #zeroSubclusters(offset: number, length: number): Promise<boolean> {
    const { clusterSize, subclusterSize } = this.#g;
    const place = this.#p.map.place(this.#cluster(offset));
    const slice = await this.#ownSlice(place);
    const e = this.#entry;
    e.load(slice.view, place.index, slice.at);
    if (e.compressed) return false;
    const first = (offset % clusterSize) / subclusterSize;
    const bits = subclusterBits(first, first + Math.ceil(length / subclusterSize));
    putEntry(this.#g, slice.view, place.index, {
      host: e.host,
      copied: e.copied,
      filled: e.filled & ~bits,
      zeros: e.zeros | bits,
    });
    this.#p.map.l2.markDirty(slice);
    return true;
  }

  async #writeZeros(offset: number, length: number, options?: IoOptions): Promise<void> {
    const zeros = new Uint8Array(Math.min(length, ZERO_PIECE));
    for (let done = 0; done < length; done += zeros.length) {
      await this.write(zeros.subarray(0, Math.min(zeros.length, length - done)), offset + done, options);
    }
  }
}
