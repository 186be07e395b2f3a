import { alignUp } from "../../bytes/integers.ts";
import type { BlockDevice, IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";

/** A growing image file is extended in steps of this many bytes; what is left over is cut when the image is closed. */
const GROWTH_STEP = 1024 * 1024;

/** The file or device that holds the image, with reads padded and writes growing as the format needs it. */
export class Container {
  readonly device: BlockDevice;
  readonly #clusterSize: number;
  /** Size when it was opened or last trimmed, in bytes. */
  #sizeBefore: number;
  /** End of the last cluster that was needed, in bytes. */
  #needed = 0;
  /** Why nothing may be written any more. */
  #broken: unknown = null;

  constructor(device: BlockDevice, clusterSize: number) {
    this.device = device;
    this.#clusterSize = clusterSize;
    this.#sizeBefore = device.size;
  }

  get size(): number {
    return this.device.size;
  }

  /**
   * Fills `into` from `offset`. The last cluster may be cut short by the end of the file and then reads as zeros there,
   * as in QEMU; a cluster that lies wholly beyond the end is `corrupt`.
   */
  async read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    const end = offset + into.length;
    if (end <= this.size) return this.device.read(into, offset, options);
    if (end > alignUp(this.size, this.#clusterSize)) {
      throw new StorageError("corrupt", `a cluster beyond the end of the file (${this.size} bytes)`, {
        layer: "qcow2",
        offset,
        hint: "the image is truncated: compare its size with that of a backup",
      });
    }
    const there = Math.max(0, this.size - offset);
    if (there > 0) await this.device.read(into.subarray(0, there), offset, options);
    into.fill(0, there);
  }

  /** A table of the format; unlike data it has to lie inside the file. */
  async readTable(offset: number, length: number, what: string): Promise<Uint8Array> {
    if (offset + length > this.size) {
      throw new StorageError("corrupt", `${what} reaches beyond the end of the file (${this.size} bytes)`, {
        layer: "qcow2",
        offset,
      });
    }
    const out = new Uint8Array(length);
    if (length > 0) await this.device.read(out, offset);
    return out;
  }

  /**
   * Runs an update of the tables. When it fails, what is on disk may be behind what is in memory, so nothing is written any more:
   * the file then is as after a crash at that moment.
   */
  async critical<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#broken ??= error;
      throw error;
    }
  }

  get broken(): boolean {
    return this.#broken !== null;
  }

  /** What every write fails with once an update has failed. */
  brokenError(): StorageError {
    return new StorageError("io", "an earlier update of the image failed, so nothing more is written to it", {
      layer: "qcow2",
      cause: this.#broken,
      hint: "open the image again; `qemu-img check` may report leaked clusters, which are harmless",
    });
  }

  async write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    this.#sound();
    await this.room(offset + from.length);
    await this.device.write(from, offset, options);
  }

  /** Makes what was written durable. A system that failed at it once may have dropped the data, so that is final, too. */
  async flush(): Promise<void> {
    this.#sound();
    await this.critical(() => this.device.flush());
  }

  /** Makes sure that the bytes up to `end` are inside the file, growing it where that is possible. */
  async room(end: number): Promise<void> {
    if (end <= this.size) return this.#need(end);
    if (!this.device.resize) {
      throw new StorageError("io", "no space left in the container", {
        layer: "qcow2",
        offset: end,
        hint: `the device that holds the image has ${this.size} bytes; the image needs more`,
      });
    }
    await this.device.resize(alignUp(end, Math.max(GROWTH_STEP, this.#clusterSize)));
    this.#need(end);
  }

  /** Cuts what `room()` added beyond need. */
  async trim(): Promise<void> {
    const keep = Math.max(this.#sizeBefore, this.#needed);
    if (this.device.resize && this.size > keep) await this.device.resize(keep);
    this.#sizeBefore = this.size;
  }

  #sound(): void {
    if (this.#broken !== null) throw this.brokenError();
  }

  #need(end: number): void {
    if (end > this.#needed) this.#needed = end;
  }
}
