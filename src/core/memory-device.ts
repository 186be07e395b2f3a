import { checked } from "./checked.ts";
import type { BlockDevice, Capabilities, Extent } from "./device.ts";

const CAPS: Capabilities = {
  writable: true,
  alignment: 1,
  sectorSize: 512,
  optimalIo: 4096,
  extents: false,
  zero: false,
  discard: false,
};

/** Bytes in memory as a device: for tests, probes of small things and fuzzing. Growable. */
export function memoryDevice(
  content: Uint8Array,
  caps: Partial<Capabilities> = {},
): BlockDevice & { bytes(): Uint8Array } {
  let bytes = content;
  const bare: BlockDevice = {
    get size() {
      return bytes.length;
    },
    caps: { ...CAPS, ...caps },
    async read(into, offset) {
      into.set(bytes.subarray(offset, offset + into.length));
    },
    async write(from, offset) {
      bytes.set(from, offset);
    },
    async zero(offset, length) {
      bytes.fill(0, offset, offset + length);
    },
    async discard() {},
    async *extents(offset, length): AsyncIterable<Extent> {
      yield { offset, length, kind: "data" };
    },
    async flush() {},
    async resize(size) {
      const grown = new Uint8Array(size);
      grown.set(bytes.subarray(0, size));
      bytes = grown;
    },
    async [Symbol.asyncDispose]() {},
  };
  return Object.assign(checked(bare, "memory"), { bytes: () => bytes });
}
