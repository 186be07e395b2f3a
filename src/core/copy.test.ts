import { expect, it } from "vitest";
import { copyDevice } from "./copy.ts";
import { memoryDevice } from "./memory-device.ts";

const MIB = 1024 * 1024;

it("takes at least the time that a rate allows, and can be interrupted while it waits", async () => {
  const source = memoryDevice(new Uint8Array(12 * MIB).fill(7));
  const target = memoryDevice(new Uint8Array(12 * MIB));
  const began = performance.now();
  await copyDevice(source, target, { blank: false, rate: 48 * MIB });
  expect(performance.now() - began).toBeGreaterThanOrEqual(245);
  const bytes = new Uint8Array(12 * MIB);
  await target.read(bytes, 0);
  expect(bytes.every((byte) => byte === 7)).toBe(true);

  const abort = new AbortController();
  const slow = copyDevice(source, target, {
    blank: false,
    rate: 1,
    signal: abort.signal,
  });
  setTimeout(() => abort.abort(new Error("enough")), 20);
  await expect(slow).rejects.toThrow("enough");
});
