import type { BlockDevice, Extent, IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Container } from "./container.ts";
import type { GuestData } from "./data.ts";
import type { CompressedRange } from "./entry.ts";
import { expandCluster, isZstd } from "./expand.ts";
import type { Geometry } from "./geometry.ts";
import type { ClusterMap, Run } from "./mapping.ts";
import { zstdFrameLength } from "./zstd-frame.ts";
import type { Memory } from "./zstd-workers.ts";

/** Expanded clusters kept, in bytes: small reads in sequence expand each cluster once. */
const EXPANDED_BYTES = 4 * 1024 * 1024;
/** Clusters of one request that are expanded at the same time, on the thread pool where the format allows. */
const AT_ONCE = 8;
/** Bytes of clusters that another thread expands at once: what it takes to send them there is little beside. */
const BATCH = 512 * 1024;
/** From so many expanded bytes on there are other threads for them: to start these takes as long as to expand this much. */
const MUCH = 16 * 1024 * 1024;

/** A whole compressed cluster that is wanted. */
interface Wanted {
  readonly range: CompressedRange;
  readonly into: Uint8Array;
}

export interface ReaderParts {
  readonly container: Container;
  readonly geometry: Geometry;
  readonly data: GuestData;
  readonly map: ClusterMap;
  readonly compressionType: number;
  readonly backing: BlockDevice | null;
}

/** Reads guest bytes: from host clusters, compressed clusters, the backing image, or zeros. */
export class Reader {
  readonly #p: ReaderParts;
  /** Expanded clusters by offset of their data, oldest first. */
  readonly #expanded = new Map<number, Uint8Array>();
  /** Bytes of whole clusters that were expanded here. */
  #done = 0;

  constructor(parts: ReaderParts) {
    this.#p = parts;
  }

  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const expanding: Promise<void>[] = [];
    let batch: Wanted[] = [];
    const add = async (work: Promise<void>): Promise<void> => {
      work.catch(() => undefined);
      expanding.push(work);
      if (expanding.length >= AT_ONCE) await expanding.shift();
    };
    const sendBatch = async (): Promise<void> => {
      const wanted = batch;
      batch = [];
      if (wanted.length > 0) await add(this.#expandBatch(wanted));
    };
    try {
      for (let done = 0; done < into.length; ) {
        if (options?.signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "qcow2" });
        const run = await this.#p.map.run(offset + done, into.length - done);
        const part = into.subarray(done, done + run.length);
        if (run.kind === "compressed" && this.#inBatches(run.length, into.length)) {
          batch.push({ range: run.range, into: part });
          if (batch.length * run.length >= BATCH) await sendBatch();
        } else {
          const reading = this.readRun(run, part, offset + done, options);
          if (run.kind === "compressed") await add(reading);
          else await reading;
        }
        done += run.length;
      }
      await sendBatch();
      for (const reading of expanding) await reading;
    } finally {
      // Nothing may still write to the caller's memory when this ends.
      await Promise.allSettled(expanding);
    }
  }

  /** Fills `into` (as long as the run or shorter) with the run's bytes; `offset` is the guest offset of the first. */
  async readRun(run: Run, into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    switch (run.kind) {
      case "data":
        return this.#p.data.read(into, run.host, options);
      case "unallocated":
      case "unfilled":
        return this.#readBacking(into, offset, options);
      case "compressed": {
        const cluster = await this.#expand(run.range, into.length === this.#p.geometry.clusterSize);
        const start = offset % this.#p.geometry.clusterSize;
        into.set(cluster.subarray(start, start + into.length));
        return;
      }
      default:
        into.fill(0);
    }
  }

  /** A hint (see BlockDevice). Finding the places reads tables, which the data's own read needs anyway. */
  async prefetch(offset: number, length: number): Promise<void> {
    const { map, data, container, backing } = this.#p;
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const run = await map.run(at, end - at);
      if (run.kind === "data") await data.prefetch(run.host, run.length);
      else if (run.kind === "compressed") await container.device.prefetch?.(run.range.offset, run.range.length);
      else if (run.kind === "unallocated" || run.kind === "unfilled") await backing?.prefetch?.(at, run.length);
      at += run.length;
    }
  }

  /** Neighbours of the same kind are joined. */
  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    let joined = null as Extent | null;
    for await (const e of this.#extents(offset, length, options)) {
      if (joined !== null && joined.kind === e.kind) {
        joined = { offset: joined.offset, length: joined.length + e.length, kind: joined.kind };
      } else {
        if (joined) yield joined;
        joined = e;
      }
    }
    if (joined) yield joined;
  }

  async *#extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      if (options?.signal?.aborted) throw new StorageError("cancelled", "cancelled", { layer: "qcow2" });
      const run = await this.#p.map.run(at, end - at);
      if (run.kind === "unallocated" || run.kind === "unfilled") yield* this.#backingExtents(at, run.length, options);
      else yield { offset: at, length: run.length, kind: run.kind.startsWith("zero") ? "zero" : "data" };
      at += run.length;
    }
  }

  async #readBacking(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const { backing } = this.#p;
    const there = backing ? Math.min(Math.max(0, backing.size - offset), into.length) : 0;
    if (backing && there > 0) await backing.read(into.subarray(0, there), offset, options);
    into.fill(0, there);
  }

  async *#backingExtents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    const { backing } = this.#p;
    const there = backing ? Math.min(Math.max(0, backing.size - offset), length) : 0;
    if (backing && there > 0) yield* backing.extents(offset, there, options);
    if (there < length) yield { offset: offset + there, length: length - there, kind: "hole" };
  }

  /** `whole`: all of the cluster is wanted, so that more of them may be. */
  async #expand(range: CompressedRange, whole: boolean): Promise<Uint8Array> {
    const known = this.#expanded.get(range.offset);
    if (known) return known;
    const { clusterSize } = this.#p.geometry;
    const input = new Uint8Array(this.#stored(range));
    await this.#p.container.read(input, range.offset);
    const out = await expandCluster(this.#p.compressionType, input, clusterSize, range.offset, whole);
    // What was read whole is not read again soon.
    if (whole) {
      this.#done += clusterSize;
      return out;
    }
    this.#expanded.set(range.offset, out);
    if (this.#expanded.size * clusterSize > EXPANDED_BYTES) {
      const oldest = this.#expanded.keys().next();
      if (!oldest.done && this.#expanded.size > 1) this.#expanded.delete(oldest.value);
    }
    return out;
  }

  /** Whether a compressed run of a request waits for others, to be expanded on another thread. Deflate has Node's thread pool. */
  #inBatches(run: number, request: number): boolean {
    const { clusterSize } = this.#p.geometry;
    return isZstd(this.#p.compressionType) && this.#done >= MUCH && run === clusterSize && request >= BATCH;
  }

  async #expandBatch(wanted: readonly Wanted[]): Promise<void> {
    const { expandAside, giveMemory, takeMemory } = await import("./zstd-workers.ts");
    const { clusterSize } = this.#p.geometry;
    const ranges = wanted.map(({ range }) => ({ start: range.offset, length: this.#stored(range) }));
    const first = Math.min(...ranges.map(({ start }) => start));
    const bytes = Math.max(...ranges.map(({ start, length }) => start + length)) - first;
    let done: Memory | null = null;
    // As a rule they were written one behind the other, so that one request gets them all.
    if (bytes <= wanted.length * 2 * clusterSize) {
      const memory = takeMemory(bytes, wanted.length * clusterSize);
      const input = memory.input.subarray(0, bytes);
      await this.#p.container.read(input, first);
      const frames = ranges.map(({ start, length }) => {
        const at = start - first;
        return { start: at, length: zstdFrameLength(input.subarray(at, at + length)) ?? 0 };
      });
      done = await expandAside(memory, frames, clusterSize);
    }
    for (const [i, { range, into }] of wanted.entries()) {
      if (done) into.set(done.out.subarray(i * clusterSize, (i + 1) * clusterSize));
      else into.set(await this.#expand(range, true));
    }
    if (done) giveMemory(done);
  }

  /** Bytes that are stored for a compressed cluster, with what is behind it up to the end of its last sector. */
  #stored(range: CompressedRange): number {
    if (range.offset < this.#p.geometry.clusterSize || range.offset >= this.#p.container.size) {
      throw new StorageError("corrupt", `a compressed cluster at ${range.offset}, outside the file's data`, {
        layer: "qcow2",
        offset: range.offset,
      });
    }
    // The last one ends with the file, which is not padded to a sector.
    return Math.min(range.length, this.#p.container.size - range.offset);
  }
}
