import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { withinLimit } from "../../core/numbers.ts";

/** Counters in one piece of the sparse array. */
const PIECE = 4096;
/** More references to one cluster than tables of any size that is allowed can hold in earnest. */
const MOST = 2 ** 31;

/** How often each host cluster is referenced; memory is taken only for pieces of the file that are. */
export class ReferenceCounts {
  readonly #pieces = new Map<number, Uint32Array>();
  readonly #clusters: number;
  readonly #clusterSize: number;
  readonly #limits: Limits;
  /** Above the highest cluster that is referenced. */
  end = 0;

  /** `fileSize` in bytes: references beyond it are `corrupt`. */
  constructor(fileSize: number, clusterSize: number, limits: Limits) {
    this.#clusters = Math.ceil(fileSize / clusterSize);
    this.#clusterSize = clusterSize;
    this.#limits = limits;
  }

  /** `times` more references to each cluster that the bytes from `offset` on touch. `at`: where the reference is. */
  add(offset: number, length: number, times: number, at: number): void {
    if (length === 0) return;
    const first = Math.floor(offset / this.#clusterSize);
    const end = Math.ceil((offset + length) / this.#clusterSize);
    if (end > this.#clusters) {
      throw new StorageError("corrupt", `a reference to ${offset}, beyond the end of the file`, {
        layer: "qcow2",
        offset: at,
      });
    }
    for (let cluster = first; cluster < end; cluster++) {
      const piece = this.#piece(cluster);
      const count = piece[cluster % PIECE]! + times;
      if (count > MOST) {
        throw new StorageError("corrupt", `a cluster with ${count} references`, { layer: "qcow2", offset: at });
      }
      piece[cluster % PIECE] = count;
    }
    this.end = Math.max(this.end, end);
  }

  get(cluster: number): number {
    return this.#pieces.get(Math.floor(cluster / PIECE))?.[cluster % PIECE] ?? 0;
  }

  /** Clusters with references, ascending within each piece. */
  *used(): IterableIterator<{ readonly cluster: number; readonly count: number }> {
    for (const [piece, counts] of this.#pieces) {
      for (let i = 0; i < PIECE; i++) {
        if (counts[i] !== 0) yield { cluster: piece * PIECE + i, count: counts[i]! };
      }
    }
  }

  #piece(cluster: number): Uint32Array {
    const index = Math.floor(cluster / PIECE);
    const there = this.#pieces.get(index);
    if (there) return there;
    const bytes = (this.#pieces.size + 1) * PIECE * 4;
    withinLimit(bytes, this.#limits.qcow2RebuildBytes, "qcow2RebuildBytes", "bytes of counted references", "qcow2");
    const made = new Uint32Array(PIECE);
    this.#pieces.set(index, made);
    return made;
  }
}
