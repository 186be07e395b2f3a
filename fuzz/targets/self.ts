import type { Sparse } from "../engine/sparse.ts";
import { Sparse as Image } from "../engine/sparse.ts";
import type { Target } from "../engine/target.ts";
import { watchedDevice } from "../engine/watched.ts";

/**
 * Parsers with known defects, behind steps that only a fuzzer that follows the coverage takes: they show that the loop finds what it is
 * for. Not among the targets of a plain run.
 */
function defective(name: string, defect: (bytes: Uint8Array) => void | Promise<void>): Target {
  return {
    name: `self-${name}`,
    seeds: () => [[Image.of(Buffer.from("MAGIC\0\0\0\0\0\0\0\0\0\0\0", "latin1"))]],
    fix: fixSum,
    async run(input, meter) {
      const bytes = new Uint8Array(16);
      await watchedDevice(input[0]!, meter, 0).read(bytes, 0);
      if (bytes[15] !== sum(bytes)) return;
      if (bytes[5] !== 0xff) return;
      if (bytes[6] !== 0x80) return;
      if (bytes[7] === 0) return;
      await defect(bytes);
    },
  };
}

function sum(bytes: Uint8Array): number {
  return bytes.subarray(0, 15).reduce((a, b) => (a + b) % 256, 0);
}

function fixSum(parts: Sparse[]): void {
  const part = parts[0]!;
  if (part.size >= 16) part.write(15, Uint8Array.of(sum(part.read(0, 16))));
}

export const selfTargets: readonly Target[] = [
  defective("throws", (bytes) => {
    throw new RangeError(`the value ${bytes[7]}`);
  }),
  defective("hangs", () => {
    for (;;);
  }),
  defective("waits", () => new Promise<void>(() => undefined)),
  defective("allocates", () => void new Uint8Array(2 ** 30)),
];
