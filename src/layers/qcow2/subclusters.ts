import type { Allocation } from "./allocation.ts";
import type { GuestData } from "./data.ts";
import { L2Entry, NOWHERE, putEntry, subclusterBits } from "./entry.ts";
import type { Geometry } from "./geometry.ts";
import type { ClusterMap } from "./mapping.ts";
import type { Reader } from "./reader.ts";
import type { Slice } from "./slice-cache.ts";

interface SubclusterWriterParts {
  readonly geometry: Geometry;
  readonly data: GuestData;
  readonly map: ClusterMap;
  readonly reader: Reader;
  readonly allocation: Allocation;
}

/**
 * Writes inside one cluster of an image with extended L2 entries: only the subclusters that are touched are filled. What they had is
 * kept where the write covers a part of them; untouched ones stay what they were.
 */
export class SubclusterWriter {
  readonly #p: SubclusterWriterParts;
  readonly #g: Geometry;
  readonly #entry: L2Entry;

  constructor(parts: SubclusterWriterParts) {
    this.#p = parts;
    this.#g = parts.geometry;
    this.#entry = new L2Entry(parts.geometry);
  }

  /** `part` lies in the guest cluster whose entry is `index` in `slice` (of a table that is ours). Returns its length. */
  async write(slice: Slice, index: number, part: Uint8Array, offset: number): Promise<number> {
    this.#entry.load(slice.view, index, slice.at);
    if (this.#entry.copied) await this.#inPlace(slice, index, part, offset);
    else await this.#moved(slice, index, part, offset);
    return part.length;
  }

  /** Subclusters that `length` bytes from `inCluster` on touch. */
  #touched(inCluster: number, length: number): { first: number; end: number } {
    const { subclusterSize } = this.#g;
    return {
      first: Math.floor(inCluster / subclusterSize),
      end: Math.floor((inCluster + length - 1) / subclusterSize) + 1,
    };
  }

  /** The host cluster is ours. Until the entry is on disk nobody sees what is written to subclusters that are not data yet. */
  async #inPlace(slice: Slice, index: number, part: Uint8Array, offset: number): Promise<void> {
    const { clusterSize, subclusterSize } = this.#g;
    const { host, filled, zeros } = this.#entry;
    const inCluster = offset % clusterSize;
    await this.#p.allocation.verifyExclusive({ first: host / clusterSize, count: 1 }, Math.floor(offset / clusterSize));
    const { first, end } = this.#touched(inCluster, part.length);
    const isData = (n: number) => ((filled >>> n) & 1) !== 0;
    const from = isData(first) ? inCluster : first * subclusterSize;
    const to = isData(end - 1) ? inCluster + part.length : end * subclusterSize;
    await this.#p.data.write(await this.#padded(part, inCluster, from, to, offset), host + from);
    const bits = subclusterBits(first, end);
    if ((filled & bits) >>> 0 === bits) return;
    this.#put(slice, index, host, filled | bits, zeros & ~bits);
  }

  /** A new host cluster, with the data that the old one has for subclusters that are not touched. */
  async #moved(slice: Slice, index: number, part: Uint8Array, offset: number): Promise<void> {
    const { clusterSize, subclusters, subclusterSize } = this.#g;
    const { compressed, host: old, zeros } = this.#entry;
    const data = compressed ? subclusterBits(0, subclusters) : old === NOWHERE ? 0 : this.#entry.filled;
    const inCluster = offset % clusterSize;
    const { first, end } = this.#touched(inCluster, part.length);
    const bits = subclusterBits(first, end);
    const fresh = await this.#p.allocation.allocate(Math.floor(offset / clusterSize), 1);
    const host = fresh.first * clusterSize;
    try {
      await this.#p.data.write(
        await this.#padded(part, inCluster, first * subclusterSize, end * subclusterSize, offset),
        host + first * subclusterSize,
      );
      await this.#copy(data & ~bits, offset - inCluster, host);
      await this.#p.allocation.releaseEntries(slice, index, 1);
    } catch (error) {
      await this.#p.allocation.giveBack(fresh);
      throw error;
    }
    this.#put(slice, index, host, data | bits, zeros & ~bits);
  }

  /** Copies the subclusters of `bits` as they read now, in runs. */
  async #copy(bits: number, clusterStart: number, host: number): Promise<void> {
    const { subclusters, subclusterSize } = this.#g;
    const wanted = (n: number) => ((bits >>> n) & 1) !== 0;
    for (let n = 0; n < subclusters; ) {
      if (!wanted(n)) {
        n++;
        continue;
      }
      let end = n + 1;
      while (end < subclusters && wanted(end)) end++;
      const bytes = new Uint8Array((end - n) * subclusterSize);
      await this.#present(bytes, clusterStart + n * subclusterSize);
      await this.#p.data.write(bytes, host + n * subclusterSize);
      n = end;
    }
  }

  /** The bytes `from` to `to` of the cluster: `part` at `inCluster`, around it what is there now. */
  async #padded(part: Uint8Array, inCluster: number, from: number, to: number, offset: number): Promise<Uint8Array> {
    if (from === inCluster && to === inCluster + part.length) return part;
    const { subclusterSize } = this.#g;
    const start = offset - inCluster + from;
    const bytes = new Uint8Array(to - from);
    const head = inCluster - from;
    const tail = to - inCluster - part.length;
    // Only the subclusters at both ends can be covered in part.
    if (head > 0) await this.#present(bytes.subarray(0, Math.min(bytes.length, subclusterSize)), start);
    if (tail > 0 && (head === 0 || bytes.length > subclusterSize)) {
      const last = Math.min(bytes.length, subclusterSize);
      await this.#present(bytes.subarray(bytes.length - last), start + bytes.length - last);
    }
    bytes.set(part, head);
    return bytes;
  }

  /** Guest bytes as they read now; zeros beyond the end of the disk. */
  async #present(into: Uint8Array, offset: number): Promise<void> {
    const length = Math.max(0, Math.min(into.length, this.#g.size - offset));
    if (length > 0) await this.#p.reader.read(into.subarray(0, length), offset);
  }

  #put(slice: Slice, index: number, host: number, filled: number, zeros: number): void {
    putEntry(this.#g, slice.view, index, { host, copied: true, filled, zeros });
    this.#p.map.l2.markDirty(slice);
  }
}
