import { checked } from "../../src/core/checked.ts";
import type { BlockDevice, Extent } from "../../src/core/device.ts";
import type { Sparse } from "./sparse.ts";

/** What one run may cost. */
export interface Bounds {
  readonly reads: number;
  readonly bytesRead: number;
  /** One request to the bottom, and all of the buffers that are allocated in the run; bytes. */
  readonly bytesAllocated: number;
}

export const BOUNDS: Bounds = {
  reads: 100_000,
  bytesRead: 256 * 1024 * 1024,
  bytesAllocated: 1024 * 1024 * 1024,
};

/** A bound of the oracle was passed: never an error that the code under test may hide, so it is kept in the meter as well. */
export class Exceeded extends Error {}

/** What a run did: its costs, and where it looked, which is where a mutation is worth while. */
export class Meter {
  reads = 0;
  bytesRead = 0;
  exceeded: Exceeded | null = null;
  /** Per part of the input: ranges that were read, [offset, length]. */
  readonly hot: [number, number][][] = [];
  readonly bounds: Bounds;

  constructor(bounds: Bounds = BOUNDS) {
    this.bounds = bounds;
  }

  count(part: number, offset: number, length: number): void {
    this.reads++;
    this.bytesRead += length;
    this.hot[part] ??= [];
    const ranges = this.hot[part];
    if (length > 0 && ranges.length < 256) ranges.push([offset, length]);
    if (this.reads > this.bounds.reads) this.exceed(`more than ${this.bounds.reads} reads`);
    if (this.bytesRead > this.bounds.bytesRead) this.exceed(`more than ${this.bounds.bytesRead} bytes read`);
  }

  exceed(what: string): never {
    this.exceeded ??= new Exceeded(what);
    throw this.exceeded;
  }
}

/** A part of an input as a device. Writes go to a copy that is forgotten with the device. */
export function watchedDevice(image: Sparse, meter: Meter, part: number, writable = false): BlockDevice {
  const content = writable ? image.clone() : image;
  return checked(
    {
      get size() {
        return content.size;
      },
      caps: {
        writable,
        alignment: 1,
        sectorSize: 512,
        optimalIo: 4096,
        extents: false,
        zero: false,
        discard: false,
      },
      async read(into, offset) {
        meter.count(part, offset, into.length);
        content.readInto(into, offset);
      },
      async write(from, offset) {
        meter.count(part, offset, 0);
        content.write(offset, from);
      },
      async zero(offset, length) {
        content.write(offset, new Uint8Array(length));
      },
      async discard() {},
      async *extents(offset, length): AsyncIterable<Extent> {
        yield { offset, length, kind: "data" };
      },
      async flush() {},
      ...(writable ? { resize: async (size: number) => content.resize(size) } : {}),
      async [Symbol.asyncDispose]() {},
    },
    "file",
  );
}
