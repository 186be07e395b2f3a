import { checked } from "../../../core/checked.ts";
import type { BlockDevice, IoOptions } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";
import { extentsMapped, readMapped, type Segment } from "../../../core/mapping.ts";
import { upperBound } from "../persistent-data/btree.ts";
import type { ThinDevice, ThinPool } from "./pool.ts";

/** Bits of a mapping that are its time (dm-thin-metadata.c: unpack_block_time). */
const TIME = 0x1000000;

export interface ThinVolumeOptions {
  readonly pool: ThinPool;
  readonly deviceId: number;
  /** Bytes. */
  readonly size: number;
  /** What blocks that the pool does not have are read from, as far as it reaches; null: zeros. */
  readonly externalOrigin: BlockDevice | null;
  readonly writable: boolean;
}

/** A run of blocks in the pool. */
interface MappedRun {
  readonly offset: number;
  readonly length: number;
  /** Bytes of the pool's data device; null: not provisioned. */
  readonly at: number | null;
  readonly time: number;
  readonly dataBlock: number;
}

/**
 * A thin volume. Writes go to blocks that are provisioned and that no snapshot shares; everything else would need a new block and is
 * refused before anything of the request is written. A kernel copies a block that is older than the last snapshot even if that snapshot is gone;
 * here such a block is written to in place, after its references are counted.
 */
export async function openThinVolume(options: ThinVolumeOptions): Promise<BlockDevice> {
  const thin = await options.pool.device(options.deviceId);
  return checked(new ThinVolume(options, thin), "lvm");
}

class ThinVolume implements BlockDevice {
  readonly size: number;
  readonly caps;
  readonly #pool: ThinPool;
  readonly #thin: ThinDevice;
  readonly #origin: BlockDevice | null;

  constructor(options: ThinVolumeOptions, thin: ThinDevice) {
    const { pool, externalOrigin, size, writable } = options;
    this.size = size;
    this.#pool = pool;
    this.#thin = thin;
    this.#origin = externalOrigin;
    this.caps = {
      writable: writable && pool.data.caps.writable,
      alignment: 1,
      sectorSize: pool.data.caps.sectorSize,
      optimalIo: pool.blockSize,
      extents: true,
      zero: true,
      discard: false,
    };
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return readMapped({ map: (o, l) => this.#map(o, l) }, into, offset, options);
  }

  extents(offset: number, length: number, options?: IoOptions) {
    return extentsMapped({ map: (o, l) => this.#map(o, l) }, offset, length, options);
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const places = await this.#places(offset, from.length, false);
    for (const p of places) await this.#pool.data.write(from.subarray(p.from, p.from + p.length), p.at, options);
  }

  async zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    const places = await this.#places(offset, length, this.#origin === null);
    for (const p of places) await this.#pool.data.zero(p.at, p.length, options);
  }

  async discard(): Promise<void> {}

  async flush(): Promise<void> {
    await this.#pool.data.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async *#map(offset: number, length: number): AsyncIterable<Segment> {
    for await (const run of this.#runs(offset, length)) {
      const { offset: at, length: bytes } = run;
      if (run.at !== null) {
        yield { offset: at, length: bytes, kind: "data", device: this.#pool.data, at: run.at };
        continue;
      }
      const inOrigin = Math.min(bytes, Math.max(0, (this.#origin?.size ?? 0) - at));
      if (inOrigin > 0) yield { offset: at, length: inOrigin, kind: "data", device: this.#origin!, at };
      if (inOrigin < bytes) yield { offset: at + inOrigin, length: bytes - inOrigin, kind: "hole" };
    }
  }

  /** Tiles the range exactly; neighbouring blocks that lie side by side in the pool are one run. */
  async *#runs(offset: number, length: number): AsyncIterable<MappedRun> {
    const { blockSize } = this.#pool;
    const end = offset + length;
    let pending: MappedRun | null = null;
    for (let at = offset; at < end; ) {
      const leaf = await this.#thin.mappings.leaf(Math.floor(at / blockSize));
      const leafEnd = Math.min(end, leaf.end * blockSize);
      for (let i = Math.max(0, upperBound(leaf.keys, Math.floor(at / blockSize)) - 1); at < leafEnd; i++) {
        if (i < leaf.keys.length && (leaf.keys[i]! + 1) * blockSize <= at) continue;
        const start = i < leaf.keys.length ? leaf.keys[i]! * blockSize : leafEnd;
        if (start > at) {
          const hole: MappedRun = {
            offset: at,
            length: Math.min(start, leafEnd) - at,
            at: null,
            time: 0,
            dataBlock: 0,
          };
          const joined: MappedRun | null = pending && join(pending, hole);
          if (pending && !joined) yield pending;
          pending = joined ?? hole;
          at = hole.offset + hole.length;
        }
        if (at >= leafEnd) break;
        const mapped = this.#mapping(leaf.values, i, at, start, leafEnd);
        const joined: MappedRun | null = pending && join(pending, mapped);
        if (pending && !joined) yield pending;
        pending = joined ?? mapped;
        at = mapped.offset + mapped.length;
      }
    }
    if (pending) yield pending;
  }

  #mapping(values: DataView, index: number, at: number, start: number, limit: number): MappedRun {
    const { blockSize, data } = this.#pool;
    const low = values.getUint32(index * 8, true);
    const dataBlock = values.getUint32(index * 8 + 4, true) * 256 + Math.floor(low / TIME);
    const place = dataBlock * blockSize;
    if (!Number.isSafeInteger(place) || place + blockSize > data.size) {
      throw this.#pool.corrupt(`block ${dataBlock} would lie beyond the end of the pool's data`);
    }
    return {
      offset: at,
      length: Math.min(start + blockSize, limit) - at,
      at: place + (at - start),
      time: low % TIME,
      dataBlock,
    };
  }

  /**
   * Blocks that are older than the last snapshot of the device. Their reference counts rise only when a shared node of the tree is copied
   * (btree_inc in dm-btree.c), so that the count of each node on the way counts as well; all are 1 when the snapshot is gone.
   */
  async #isOwn(run: MappedRun): Promise<boolean> {
    const { blockSize } = this.#pool;
    const last = Math.floor((run.offset + run.length - 1) / blockSize);
    for (let block = Math.floor(run.offset / blockSize); block <= last; block++) {
      if (!(await this.#thin.isOwnPath(block))) return false;
    }
    return true;
  }

  /** Where all of the range may be written. `holesAreZero`: what is not provisioned needs no place, it reads as zeros already. */
  async #places(offset: number, length: number, holesAreZero: boolean) {
    const places: { readonly at: number; readonly from: number; readonly length: number }[] = [];
    for await (const run of this.#runs(offset, length)) {
      if (run.at === null) {
        if (holesAreZero) continue;
        throw refused("a block that the pool has not provisioned yet", run.offset);
      }
      const { blockSize } = this.#pool;
      if (run.time < this.#thin.snapshotTime && !(await this.#isOwn(run))) {
        throw refused("a block that a snapshot shares", run.offset);
      }
      const first = run.dataBlock;
      const last = Math.floor((run.at + run.length - 1) / blockSize);
      for (let block = first; block <= last; block++) {
        const references = await this.#pool.dataReferences.references(block);
        if (references > 1) throw refused("a block that is shared", run.offset);
        if (references === 0) throw this.#pool.corrupt(`block ${block} is in use, but counts as free`);
      }
      places.push({ at: run.at, from: run.offset - offset, length: run.length });
    }
    return places;
  }
}

/** One run, when the second goes on where the first ends and both are of the same age. */
function join(a: MappedRun, b: MappedRun): MappedRun | null {
  if (a.at === null || b.at === null) {
    return a.at === b.at ? { ...a, length: a.length + b.length } : null;
  }
  return a.at + a.length === b.at && a.time === b.time ? { ...a, length: a.length + b.length } : null;
}

function refused(what: string, offset: number): StorageError {
  return new StorageError("unsupported", `writing to a thin volume: ${what}`, {
    layer: "lvm",
    offset,
    feature: "thin provisioning",
    hint: "only a kernel gives out blocks of a thin pool: change this volume in the guest or in a rescue system (the kernel engine)",
  });
}
