import type { IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { SectorCodec } from "../../core/layer.ts";
import type { Container } from "./container.ts";
import type { Geometry } from "./geometry.ts";

/** IV numbers count sectors of this many bytes from the start of the file that holds the data ("Data encryption"). */
const SECTOR = 512;

/**
 * Host clusters with guest data: in the image itself or in its external data file, and with encryption between. Compressed clusters
 * are read from the container directly: QEMU does not encrypt them.
 */
export class GuestData {
  readonly external: boolean;
  readonly #g: Geometry;
  readonly #metadata: Container;
  readonly #store: Container;
  readonly #codec: SectorCodec | null;

  /** `external`: the data file, or null. `codec`: of an encrypted image; requests then are whole sectors. */
  constructor(g: Geometry, metadata: Container, external: Container | null, codec: SectorCodec | null) {
    this.#g = g;
    this.#metadata = metadata;
    this.#store = external ?? metadata;
    this.external = external !== null;
    this.#codec = codec;
  }

  /** Bytes of the file that holds the data. */
  get size(): number {
    return this.#store.size;
  }

  get encrypted(): boolean {
    return this.#codec !== null;
  }

  async read(into: Uint8Array, host: number, options?: IoOptions): Promise<void> {
    await this.#store.read(into, host, options);
    this.#codec?.decrypt(into, host / SECTOR);
  }

  async prefetch(host: number, length: number): Promise<void> {
    await this.#store.device.prefetch?.(host, length);
  }

  /** A raw data file stays as long as the disk: what a cluster has beyond its end is not written there. */
  async write(from: Uint8Array, host: number, options?: IoOptions): Promise<void> {
    if (this.external && this.#metadata.broken) throw this.#metadata.brokenError();
    const bytes = this.external ? from.subarray(0, Math.max(0, this.#g.size - host)) : from;
    if (bytes.length === 0) return;
    if (!this.#codec) return this.#store.write(bytes, host, options);
    const own = bytes.slice();
    this.#codec.encrypt(own, host / SECTOR);
    await this.#store.write(own, host, options);
  }

  /** Makes data in an external file durable; data in the image is flushed together with the tables. */
  async flush(): Promise<void> {
    if (this.external) await this.#metadata.critical(() => this.#store.flush());
  }

  async trim(): Promise<void> {
    if (this.external) await this.#store.trim();
  }

  /** Throws `corrupt` unless guest cluster `cluster` may lie at `host`. `at`: where the entry is. */
  check(host: number, cluster: number, at: number): void {
    if (this.external && host !== cluster * this.#g.clusterSize) {
      throw new StorageError("corrupt", `a cluster at ${host} of the data file, not at its guest offset`, {
        layer: "qcow2",
        offset: at,
      });
    }
    if (host >= this.size) {
      const where = this.external ? "the data file" : "the file";
      throw new StorageError("corrupt", `a cluster at ${host}, beyond the end of ${where} (${this.size} bytes)`, {
        layer: "qcow2",
        offset: at,
        hint: "the image is truncated or damaged: see `qemu-img check`",
      });
    }
  }
}
