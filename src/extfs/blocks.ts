import { type BlockDevice, type IoOptions, readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { ExtGeometry } from "./geometry.ts";

/** Bytes of metadata blocks that are kept; the least recently used go first. */
const CACHE_BYTES = 16 * 1024 * 1024;

/** `corrupt` with what the user can do: every contradiction inside an ext file system is told through this. */
export function extCorrupt(message: string, offset?: number): StorageError {
  return new StorageError("corrupt", message, {
    layer: "ext",
    offset,
    hint: "unterbau check shows what e2fsck would do about it",
  });
}

/** Metadata blocks by number, each read once while it stays in the cache. The arrays are shared: not to be changed. */
export class ExtBlocks {
  readonly device: BlockDevice;
  readonly geometry: ExtGeometry;
  readonly #cache = new Map<number, Uint8Array>();
  readonly #io: IoOptions;
  readonly #capacity: number;

  constructor(device: BlockDevice, geometry: ExtGeometry, io: IoOptions = {}) {
    this.device = device;
    this.geometry = geometry;
    this.#io = io;
    this.#capacity = Math.max(16, Math.floor(CACHE_BYTES / geometry.blockSize));
  }

  /** One block. `what` is named when it lies outside the file system (`corrupt`). */
  async read(block: number, what: string): Promise<Uint8Array> {
    const held = this.#cache.get(block);
    if (held) {
      this.#cache.delete(block);
      this.#cache.set(block, held);
      return held;
    }
    this.inside(block, 1, what);
    const { blockSize } = this.geometry;
    const bytes = await readBytes(this.device, block * blockSize, blockSize, this.#io);
    if (this.#cache.size >= this.#capacity) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(block, bytes);
    return bytes;
  }

  /** Throws `corrupt` unless `[block, block + count)` lies inside the file system. */
  inside(block: number, count: number, what: string): void {
    const { firstDataBlock, blocks } = this.geometry;
    if (block < firstDataBlock || block + count > blocks)
      throw extCorrupt(`${what} points to block ${block}, outside the file system's ${blocks}`);
  }
}
