import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import type { StorageError } from "../../src/core/errors.ts";

/** A freshly made device and the bytes it must hold; `reopen` gives a second device over the same storage after a flush. */
export interface Subject {
  readonly device: BlockDevice;
  readonly content: Uint8Array;
  readonly reopen?: (() => Promise<BlockDevice>) | undefined;
  readonly cleanup?: (() => Promise<void>) | undefined;
}

export interface ConformanceOptions {
  /** Random operations against the byte-array model. */
  readonly runs?: number;
}

/** What every BlockDevice owes its callers (src/core/device.ts). Each driver and layer runs it. */
export function deviceConformance(name: string, make: () => Promise<Subject>, options: ConformanceOptions = {}): void {
  const using = async (work: (s: Subject) => Promise<void>) => {
    const subject = await make();
    try {
      await work(subject);
    } finally {
      await subject.device[Symbol.asyncDispose]();
      await subject.cleanup?.();
    }
  };
  const code = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => null,
      (e: unknown) => e as StorageError,
    );
    return error === null ? "no error" : error.code;
  };

  describe(`device conformance: ${name}`, () => {
    it("has the size and bytes that it should", () =>
      using(async ({ device, content }) => {
        expect(device.size).toBe(content.length);
        const all = await readBytes(device, 0, device.size);
        expect(Buffer.compare(all, content)).toBe(0);
      }));

    it("takes a hint of what will be read, also a wrong one, and is the same after it", () =>
      using(async ({ device, content }) => {
        for (const [offset, length] of [
          [0, device.size],
          [1, 7],
          [device.size, 0],
          [0, device.size + 4096],
          [device.size + 1, 1],
        ] as const)
          await device.prefetch?.(offset, length);
        expect(Buffer.compare(await readBytes(device, 0, device.size), content)).toBe(0);
      }));

    it("reads any range into the middle of a caller's buffer and touches nothing else", () =>
      using(async ({ device, content }) => {
        for (const [offset, length] of [
          [0, 1],
          [1, 513],
          [511, 2],
          [device.size - 1, 1],
          [Math.floor(device.size / 2) - 7, 15],
          [0, 0],
          [device.size, 0],
        ] as const) {
          const buffer = new Uint8Array(length + 32).fill(0xa5);
          await device.read(buffer.subarray(16, 16 + length), offset);
          expect(buffer.subarray(0, 16).every((b) => b === 0xa5)).toBe(true);
          expect(buffer.subarray(16 + length).every((b) => b === 0xa5)).toBe(true);
          expect(Buffer.compare(buffer.subarray(16, 16 + length), content.subarray(offset, offset + length))).toBe(0);
        }
      }));

    it("refuses ranges outside", () =>
      using(async ({ device }) => {
        expect(await code(device.read(new Uint8Array(2), device.size - 1))).toBe("range");
        expect(await code(device.read(new Uint8Array(1), -1))).toBe("range");
        expect(await code(device.read(new Uint8Array(1), 0.5))).toBe("range");
        expect(await code(device.read(new Uint8Array(1), Number.MAX_SAFE_INTEGER))).toBe("range");
        if (device.caps.writable) expect(await code(device.write(new Uint8Array(2), device.size - 1))).toBe("range");
      }));

    it("tiles a request with extents, and what they call zero reads as zeros", () =>
      using(async ({ device, content }) => {
        for (const [offset, length] of [
          [0, device.size],
          [777, Math.min(9999, device.size - 777)],
        ] as const) {
          let at = offset;
          for await (const e of device.extents(offset, length)) {
            expect(e.offset).toBe(at);
            expect(e.length).toBeGreaterThan(0);
            if (e.kind !== "data")
              expect(content.subarray(e.offset, e.offset + e.length).every((b) => b === 0)).toBe(true);
            at += e.length;
          }
          expect(at).toBe(offset + length);
        }
      }));

    it("stops when asked to", () =>
      using(async ({ device }) => {
        expect(await code(device.read(new Uint8Array(1), 0, { signal: AbortSignal.abort() }))).toBe("cancelled");
      }));

    it("refuses use after disposal, and disposal twice is harmless", () =>
      using(async ({ device }) => {
        await device[Symbol.asyncDispose]();
        expect(await code(device.read(new Uint8Array(1), 0))).toBe("io");
      }));

    it("writes as a byte array does, or refuses as read-only", () =>
      using(async ({ device, content, reopen }) => {
        if (!device.caps.writable) {
          expect(await code(device.write(new Uint8Array(1), 0))).toBe("read-only");
          expect(await code(device.zero(0, 1))).toBe("read-only");
          expect(await code(device.discard(0, 1))).toBe("read-only");
          return;
        }
        const model = Uint8Array.from(content);
        const range = fc
          .tuple(
            fc.integer({ min: 0, max: device.size - 1 }),
            fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 200_000 })),
          )
          .map(([o, l]) => [o, Math.min(l, device.size - o)] as const);
        const operation = fc.oneof(
          fc.record({ op: fc.constant("write" as const), range, fill: fc.integer({ min: 0, max: 255 }) }),
          fc.record({ op: fc.constant("zero" as const), range, fill: fc.constant(0) }),
          fc.record({ op: fc.constant("read" as const), range, fill: fc.constant(0) }),
          fc.record({ op: fc.constant("flush" as const), range, fill: fc.constant(0) }),
        );
        const steps = fc.sample(operation, { numRuns: options.runs ?? 60, seed: 20261124 });
        for (const {
          op,
          range: [offset, length],
          fill,
        } of steps) {
          if (op === "write") {
            const bytes = Uint8Array.from({ length }, (_, i) => (fill + i * 7) & 0xff);
            const copy = Uint8Array.from(bytes);
            await device.write(bytes, offset);
            expect(Buffer.compare(bytes, copy)).toBe(0);
            bytes.fill(0xee);
            model.set(copy, offset);
          } else if (op === "zero") {
            await device.zero(offset, length);
            model.fill(0, offset, offset + length);
          } else if (op === "flush") {
            await device.flush();
          } else {
            const got = await readBytes(device, offset, length);
            expect(Buffer.compare(got, model.subarray(offset, offset + length))).toBe(0);
          }
        }
        await device.flush();
        expect(Buffer.compare(await readBytes(device, 0, device.size), model)).toBe(0);
        if (reopen) {
          await device[Symbol.asyncDispose]();
          const again = await reopen();
          expect(Buffer.compare(await readBytes(again, 0, again.size), model)).toBe(0);
          await again[Symbol.asyncDispose]();
        }
      }));
  });
}
