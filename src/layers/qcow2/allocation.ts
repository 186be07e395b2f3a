import { StorageError } from "../../core/errors.ts";
import type { GuestData } from "./data.ts";
import { decodeCompressed, L2Entry, NOWHERE } from "./entry.ts";
import type { Geometry } from "./geometry.ts";
import type { ClusterRun, Refcounts } from "./refcounts.ts";
import type { Slice } from "./slice-cache.ts";

/**
 * Host clusters for guest data. In the image they are counted; in an external data file every guest cluster has its fixed place, with
 * an implicit refcount of one.
 */
export class Allocation {
  readonly #g: Geometry;
  readonly #refcounts: Refcounts;
  readonly #data: GuestData;
  readonly #entry: L2Entry;

  constructor(g: Geometry, refcounts: Refcounts, data: GuestData) {
    this.#g = g;
    this.#refcounts = refcounts;
    this.#data = data;
    this.#entry = new L2Entry(g);
  }

  /** Places for one to `max` guest clusters from `cluster` on. */
  async allocate(cluster: number, max: number): Promise<ClusterRun> {
    return this.#data.external ? { first: cluster, count: max } : this.#refcounts.allocate(max);
  }

  /** Throws `corrupt` unless the host clusters at `run`, of guest clusters from `cluster` on, are theirs alone. */
  async verifyExclusive(run: ClusterRun, cluster: number): Promise<void> {
    if (!this.#data.external) return this.#refcounts.verifyExclusive(run);
    if (run.first !== cluster) {
      throw new StorageError("corrupt", "a cluster of the data file is not at its guest offset", {
        layer: "qcow2",
        offset: run.first * this.#g.clusterSize,
      });
    }
  }

  /** Gives back what `allocate()` gave and no table names. */
  async giveBack(run: ClusterRun): Promise<void> {
    if (!this.#data.external) await this.#refcounts.release(run);
  }

  /** Releases the host clusters that `count` entries from `index` on name. */
  async releaseEntries(slice: Slice, index: number, count: number): Promise<void> {
    if (this.#data.external) return;
    const { clusterSize } = this.#g;
    const e = this.#entry;
    const runs: ClusterRun[] = [];
    for (let i = index; i < index + count; i++) {
      e.load(slice.view, i, slice.at);
      if (e.compressed) {
        // Several compressed clusters share a host cluster: each counts once for every host cluster that it touches.
        const range = decodeCompressed(this.#g, slice.view, i, slice.at);
        const first = Math.floor(range.offset / clusterSize);
        runs.push({ first, count: Math.floor((range.offset + range.length - 1) / clusterSize) - first + 1 });
      } else if (e.host !== NOWHERE) runs.push({ first: e.host / clusterSize, count: 1 });
    }
    await this.#refcounts.release(...runs);
  }
}
