import { rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { check, noise, openImage, qemuBytes, qemuIo, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();

interface Shape {
  readonly clusterBits: number;
  readonly refcountBits: number;
  readonly version: 2 | 3;
  readonly size: number;
  readonly snapshots: 0 | 1 | 2;
  readonly backing: "none" | "raw" | "qcow2";
  readonly preallocated: boolean;
  readonly compressed: boolean;
  readonly extended: boolean;
}

const shapes: fc.Arbitrary<Shape> = fc
  .record({
    clusterBits: fc.constantFrom(9, 9, 10, 12, 14, 16),
    refcountBits: fc.constantFrom(1, 2, 4, 8, 16, 32, 64),
    version: fc.constantFrom<2 | 3>(2, 3, 3),
    sectors: fc.integer({ min: 1, max: 3000 }),
    snapshots: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    backing: fc.constantFrom<Shape["backing"]>("none", "none", "raw", "qcow2"),
    preallocated: fc.boolean(),
    compressed: fc.boolean(),
    extended: fc.boolean(),
  })
  .map(({ sectors, ...s }) => ({
    ...s,
    size: sectors * 512,
    extended: s.extended && s.version === 3,
    // Subclusters have at least 512 bytes.
    clusterBits: s.extended && s.version === 3 ? Math.max(14, s.clusterBits) : s.clusterBits,
    refcountBits: s.version === 2 ? 16 : s.refcountBits,
    // A refcount of one bit cannot count a snapshot's reference, one of two bits not two of them and compressed sharing.
    snapshots: s.refcountBits < 4 && s.version === 3 ? 0 : s.snapshots,
    compressed: s.compressed && (s.version === 2 || s.refcountBits >= 8),
  }));

type Step = {
  readonly op: "write" | "zero" | "discard" | "read" | "flush" | "reopen";
  readonly at: number;
  readonly length: number;
  readonly seed: number;
};

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    op: fc.constantFrom<Step["op"]>("write", "write", "write", "zero", "zero", "discard", "read", "flush", "reopen"),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    length: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 300_000 })),
    seed: fc.nat(1_000_000),
  }),
  { minLength: 3, maxLength: 25 },
);

let counter = 0;

/** Makes an image with QEMU and returns what it and its snapshots hold. */
function build(shape: Shape): { image: string; disk: Uint8Array; snapshots: { name: string; bytes: Uint8Array }[] } {
  const id = counter++;
  const image = join(folder, `w${id}.qcow2`);
  const options = [
    `compat=${shape.version === 2 ? "0.10" : "1.1"}`,
    `cluster_size=${2 ** shape.clusterBits}`,
    `refcount_bits=${shape.refcountBits}`,
    ...(shape.extended ? ["extended_l2=on"] : []),
  ];
  const create = ["create", "-q", "-f", "qcow2"];
  const half = Math.ceil(shape.size / 1024) * 512;
  if (shape.backing !== "none") {
    const raw = rawFile(join(folder, `b${id}.raw`), noise(half, id + 7));
    let backing = raw;
    if (shape.backing === "qcow2") {
      backing = join(folder, `b${id}.qcow2`);
      run("qemu-img", "convert", "-c", "-O", "qcow2", raw, backing);
    }
    run("qemu-img", ...create, "-o", options.join(), "-b", backing, "-F", shape.backing, image, String(shape.size));
  } else if (shape.compressed) {
    const bytes = new Uint8Array(shape.size);
    bytes.set(new Uint8Array(half).map((_, i) => (i >> 6) & 0xff));
    const raw = rawFile(join(folder, `c${id}.raw`), bytes);
    run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", options.join(), raw, image);
  } else {
    if (shape.preallocated) options.push("preallocation=metadata");
    run("qemu-img", ...create, "-o", options.join(), image, String(shape.size));
  }
  const snapshots: { name: string; bytes: Uint8Array }[] = [];
  for (let n = 0; n < shape.snapshots; n++) {
    const start = Math.floor(shape.size / 1024 / (n + 2)) * 512;
    const length = Math.min(shape.size - start, 40 * 512);
    qemuIo(image, `write -P ${17 + n} ${start} ${length}`);
    run("qemu-img", "snapshot", "-c", `s${n}`, image);
    snapshots.push({ name: `s${n}`, bytes: qemuBytes(image, `s${n}`) });
  }
  return { image, disk: qemuBytes(image), snapshots };
}

describe("qcow2 writing against QEMU", () => {
  it("random writes give the same disk in QEMU, a clean check and untouched snapshots", async () => {
    await fc.assert(
      fc.asyncProperty(shapes, steps, async (shape, todo) => {
        const { image, disk: model, snapshots } = build(shape);
        let opened = await openImage(image, true);
        expect(Buffer.compare(await readBytes(opened.disk, 0, shape.size), model)).toBe(0);
        for (const step of todo) {
          const offset = Math.floor(step.at * shape.size);
          const length = Math.min(step.length, shape.size - offset);
          if (step.op === "write") {
            const bytes = noise(length, step.seed);
            await opened.disk.write(bytes, offset);
            model.set(bytes, offset);
          } else if (step.op === "zero") {
            await opened.disk.zero(offset, length);
            model.fill(0, offset, offset + length);
          } else if (step.op === "discard") {
            await opened.disk.discard(offset, length);
            const now = await readBytes(opened.disk, offset, length);
            for (let i = 0; i < length; i++) expect(now[i] === model[offset + i] || now[i] === 0).toBe(true);
            model.set(now, offset);
          } else if (step.op === "read") {
            const now = await readBytes(opened.disk, offset, length);
            expect(Buffer.compare(now, model.subarray(offset, offset + length))).toBe(0);
          } else if (step.op === "flush") await opened.disk.flush();
          else {
            await opened[Symbol.asyncDispose]();
            opened = await openImage(image, true);
          }
        }
        expect(Buffer.compare(await readBytes(opened.disk, 0, shape.size), model)).toBe(0);
        for await (const e of opened.disk.extents(0, shape.size)) {
          if (e.kind !== "data") expect(model.subarray(e.offset, e.offset + e.length).every((b) => b === 0)).toBe(true);
        }
        await opened[Symbol.asyncDispose]();
        const result = check(image);
        expect(result.status, result.text).toBe(0);
        expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
        for (const s of snapshots) expect(Buffer.compare(qemuBytes(image, s.name), s.bytes)).toBe(0);
        rmSync(image);
      }),
      { numRuns: Number(process.env.QCOW2_RUNS ?? 12) },
    );
  });
});
