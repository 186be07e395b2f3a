import type { BlockDevice, Capabilities, Extent, IoOptions } from "../../core/device.ts";
import type { Qcow2Image } from "./image.ts";

/** One opening of the virtual disk. */
export class Qcow2Device implements BlockDevice {
  readonly size: number;
  readonly caps: Capabilities;
  readonly #image: Qcow2Image;

  constructor(image: Qcow2Image, writable: boolean) {
    this.#image = image;
    this.size = image.geometry.size;
    this.caps = {
      writable,
      alignment: image.encrypted ? 512 : 1,
      sectorSize: 512,
      optimalIo: image.geometry.clusterSize,
      extents: true,
      zero: true,
      discard: true,
    };
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#image.read(into, offset, options);
  }

  prefetch(offset: number, length: number): Promise<void> {
    return this.#image.prefetch(offset, length);
  }

  write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#image.write(from, offset, options);
  }

  zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    return this.#image.zero(offset, length, options);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#image.discard(offset, length);
  }

  extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    return this.#image.extents(offset, length, options);
  }

  flush(): Promise<void> {
    return this.#image.flush();
  }

  /** The image is shared, so this only makes it complete on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.caps.writable) await this.#image.settle();
  }
}
