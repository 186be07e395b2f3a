import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deviceConformance } from "../../test/conformance/suite.ts";
import { type BlockDevice, readBytes } from "./device.ts";
import { memoryDevice } from "./memory-device.ts";
import { Overlay } from "./overlay.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-overlay-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function rangesOf(overlay: Overlay) {
  const out = [];
  for await (const r of overlay.changedRanges()) out.push(r);
  return out;
}

/** Counts the requests that reach a device. */
function counting(device: BlockDevice) {
  const counts = { reads: 0, writes: 0 };
  const counted: BlockDevice = {
    size: device.size,
    caps: device.caps,
    read(into, offset, options) {
      counts.reads++;
      return device.read(into, offset, options);
    },
    async write() {
      counts.writes++;
    },
    async zero() {
      counts.writes++;
    },
    async discard() {
      counts.writes++;
    },
    extents: (offset, length) => device.extents(offset, length),
    flush: () => device.flush(),
    [Symbol.asyncDispose]: async () => undefined,
  };
  return { counted, counts };
}

deviceConformance("overlay in memory", async () => {
  const content = randomBytes(100_000);
  return { device: new Overlay(memoryDevice(content.slice(), { writable: false })), content };
});
deviceConformance("overlay that spills", async () => {
  const content = randomBytes(300_000);
  return { device: new Overlay(memoryDevice(content.slice()), { memoryLimit: 8192 }), content };
});

describe("Overlay", () => {
  it("writes above a read-only base and never into it", async () => {
    const content = randomBytes(64 * 1024);
    const { counted, counts } = counting(memoryDevice(content.slice(), { writable: false }));
    await using overlay = new Overlay(counted);
    expect(overlay.caps.writable).toBe(true);
    await overlay.write(Buffer.from("hello"), 5000);
    await overlay.zero(8192, 4096);
    await overlay.flush();
    const expected = Buffer.from(content);
    expected.write("hello", 5000);
    expected.fill(0, 8192, 12288);
    expect(Buffer.from(await readBytes(overlay, 0, overlay.size)).equals(expected)).toBe(true);
    expect(counts.writes).toBe(0);
    await overlay.discardAll();
    expect(Buffer.from(await readBytes(overlay, 0, overlay.size)).equals(content)).toBe(true);
  });

  it("asks the base once for a large range that was not touched", async () => {
    const { counted, counts } = counting(memoryDevice(new Uint8Array(8 * 1024 * 1024)));
    await using overlay = new Overlay(counted);
    await overlay.write(new Uint8Array(4096), 0);
    counts.reads = 0;
    await readBytes(overlay, 8192, 7 * 1024 * 1024);
    expect(counts.reads).toBe(1);
  });

  it("reports only sectors that really differ, and commits only those", async () => {
    const content = randomBytes(64 * 1024);
    const base = memoryDevice(content.slice());
    await using overlay = new Overlay(base);
    await overlay.write(content.subarray(0, 20_000), 0);
    expect(await rangesOf(overlay)).toEqual([]);
    await overlay.write(Buffer.from([content[1000]! ^ 1]), 1000);
    await overlay.write(Buffer.from([content[4095]! ^ 1, content[4096]! ^ 1]), 4095);
    await overlay.zero(40960, 4096);
    const ranges = [
      { offset: 512, length: 512 },
      { offset: 3584, length: 1024 },
      { offset: 40960, length: 4096 },
    ];
    expect(await rangesOf(overlay)).toEqual(ranges);
    expect(await overlay.changedBytes()).toBe(5632);
    const target = memoryDevice(content.slice());
    const progress: number[] = [];
    await overlay.commitTo(target, { onProgress: (done) => progress.push(done) });
    expect(progress.at(-1)).toBe(5632);
    expect(Buffer.from(target.bytes()).equals(Buffer.from(await readBytes(overlay, 0, overlay.size)))).toBe(true);
  });

  it("spills encrypted beyond its memory, into a file without a name", async () => {
    const base = memoryDevice(new Uint8Array(1024 * 1024));
    const overlay = new Overlay(base, { memoryLimit: 64 * 1024, spillDir: directory });
    const data = randomBytes(1024 * 1024);
    await overlay.write(data, 0);
    expect(readdirSync(directory)).toEqual([]);
    expect(Buffer.from(await readBytes(overlay, 0, overlay.size)).equals(data)).toBe(true);
    await overlay[Symbol.asyncDispose]();
  });

  it("takes no storage for zeros", async () => {
    const size = 2 ** 40;
    const huge: BlockDevice = {
      size,
      caps: {
        writable: false,
        alignment: 1,
        sectorSize: 512,
        optimalIo: 4096,
        extents: true,
        zero: true,
        discard: false,
      },
      read: async (into) => void into.fill(7),
      write: async () => undefined,
      zero: async () => undefined,
      discard: async () => undefined,
      async *extents(offset, length) {
        yield { offset, length, kind: "hole" };
      },
      flush: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
    await using overlay = new Overlay(huge, { memoryLimit: 0, spillDir: "/nonexistent" });
    await overlay.zero(2 ** 39, 2 ** 32);
    expect((await readBytes(overlay, 2 ** 39 + 12345, 3)).every((b) => b === 0)).toBe(true);
    expect((await readBytes(overlay, 2 ** 39 - 1, 2))[0]).toBe(7);
    expect(await rangesOf(overlay)).toEqual([]);
  });

  it("does not lose one of two concurrent writes into the same block", async () => {
    await using overlay = new Overlay(memoryDevice(new Uint8Array(4096)));
    await Promise.all(Array.from({ length: 16 }, (_, i) => overlay.write(Buffer.from([i + 1]), i * 100)));
    const back = await readBytes(overlay, 0, 4096);
    for (let i = 0; i < 16; i++) expect(back[i * 100]).toBe(i + 1);
  });

  it("behaves as a plain buffer under any sequence of operations", async () => {
    const size = 20_000;
    const operation = fc.record({
      kind: fc.constantFrom("write", "zero", "resize", "read"),
      offset: fc.integer({ min: 0, max: 40_000 }),
      length: fc.integer({ min: 0, max: 14_000 }),
      byte: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 16 }), async (operations) => {
        const content = new Uint8Array(size).map((_, i) => (i % 251) + 1);
        const base = memoryDevice(content.slice());
        await using overlay = new Overlay(base, { memoryLimit: 8192, spillDir: directory });
        let model = content.slice();
        for (const { kind, offset, length, byte } of operations) {
          const at = Math.min(offset, model.length);
          const n = Math.min(length, model.length - at);
          if (kind === "write") {
            await overlay.write(new Uint8Array(n).fill(byte), at);
            model.fill(byte, at, at + n);
          } else if (kind === "zero") {
            await overlay.zero(at, n);
            model.fill(0, at, at + n);
          } else if (kind === "resize") {
            await overlay.resize!(offset);
            const next = new Uint8Array(offset);
            next.set(model.subarray(0, offset));
            model = next;
          } else {
            const got = await readBytes(overlay, at, n);
            expect(Buffer.from(got).equals(Buffer.from(model.subarray(at, at + n)))).toBe(true);
          }
        }
        expect(overlay.size).toBe(model.length);
        expect(Buffer.from(await readBytes(overlay, 0, model.length)).equals(Buffer.from(model))).toBe(true);
        let at = 0;
        for await (const e of overlay.extents(0, model.length)) {
          expect(e.offset).toBe(at);
          if (e.kind !== "data") expect(model.subarray(e.offset, e.offset + e.length).every((b) => b === 0)).toBe(true);
          at += e.length;
        }
        expect(at).toBe(model.length);
        await overlay.commitTo(base);
        expect(Buffer.from(base.bytes()).equals(Buffer.from(model))).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});
