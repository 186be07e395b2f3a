import { closeSync, copyFileSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { openImage, qemuBytes, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const jobs = vi.hoisted(() => ({ sent: 0, frames: 0 }));
vi.mock("../../src/layers/qcow2/zstd-workers.ts", async (original) => {
  const real = await original<typeof import("../../src/layers/qcow2/zstd-workers.ts")>();
  return {
    ...real,
    expandAside: (...[memory, frames, size]: Parameters<typeof real.expandAside>) => {
      jobs.sent++;
      jobs.frames += frames.length;
      return real.expandAside(memory, frames, size);
    },
  };
});

const MIB = 1024 * 1024;
const SIZE = 40 * MIB;
const CLUSTER = 65536;
/** The cluster size field of a compressed entry takes its high bits ("Compressed Clusters Descriptor": x = 62 - (cluster_bits - 8)). */
const OFFSET_BITS = 62n - 8n;

const folder = temporaryFolder();

/** Words in an order that never repeats, which compress to about a half; every eighth cluster is zeros. */
function words(): Uint8Array {
  const bytes = new Uint32Array(SIZE / 4);
  let state = 12345;
  for (let i = 0; i < bytes.length; i++) {
    if (i % 2 === 0) state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[i] = (i * 4) % (8 * CLUSTER) < CLUSTER ? 0 : (state >>> (i % 2 === 0 ? 0 : 24)) | 0x01000000;
  }
  return new Uint8Array(bytes.buffer);
}

const raw = rawFile(join(folder, "source.raw"), words());
const image = join(folder, "zstd.qcow2");
run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", raw, image);

/** Where the compressed data of a guest cluster lie in the file (L1 at 40 of the header, eight bytes an entry). */
function dataOf(path: string, cluster: number): number {
  const fd = openSync(path, "r");
  const u64 = (at: number) => {
    const bytes = Buffer.alloc(8);
    readSync(fd, bytes, 0, 8, at);
    return bytes.readBigUInt64BE();
  };
  const table = u64(Number(u64(40))) & 0x00fffffffffffe00n;
  const entry = u64(Number(table) + cluster * 8);
  closeSync(fd);
  expect(entry >> 62n).toBe(1n);
  return Number(entry & ((1n << OFFSET_BITS) - 1n));
}

afterEach(() => {
  Object.assign(jobs, { sent: 0, frames: 0 });
});

describe("much zstd", () => {
  it("is expanded on other threads, some clusters at a time, to what QEMU reads", async () => {
    const expected = qemuBytes(image);
    await using opened = await openImage(image, false);
    for (let at = 0; at < SIZE; at += 4 * MIB) {
      const bytes = await readBytes(opened.disk, at, 4 * MIB);
      expect(Buffer.compare(bytes, expected.subarray(at, at + bytes.length))).toBe(0);
    }
    // After the first 16 MiB; seven of eight clusters are compressed.
    expect(jobs.frames).toBeGreaterThan(200);
    expect(jobs.sent).toBeLessThan(jobs.frames / 3);
    // Little is read in place, as before.
    const sent = jobs.sent;
    expect(
      Buffer.compare(await readBytes(opened.disk, 33 * MIB, 5000), expected.subarray(33 * MIB, 33 * MIB + 5000)),
    ).toBe(0);
    expect(jobs.sent).toBe(sent);
  });

  it("is corrupt where one cluster is, and whole around it", async () => {
    const damaged = join(folder, "damaged.qcow2");
    copyFileSync(image, damaged);
    const cluster = (30 * MIB) / CLUSTER + 3;
    const at = dataOf(damaged, cluster);
    const fd = openSync(damaged, "r+");
    // Behind the frame's and the first block's headers.
    writeSync(fd, Buffer.alloc(2000, 0xff), 0, 2000, at + 16);
    closeSync(fd);
    const expected = readFileSync(raw);
    await using opened = await openImage(damaged, false);
    for (let done = 0; done < 28 * MIB; done += 4 * MIB) await readBytes(opened.disk, done, 4 * MIB);
    const before = jobs.sent;
    await expect(readBytes(opened.disk, 28 * MIB, 4 * MIB)).rejects.toMatchObject({ code: "corrupt", offset: at });
    expect(jobs.sent).toBeGreaterThan(before);
    const rest = await readBytes(opened.disk, 32 * MIB, 8 * MIB);
    expect(Buffer.compare(rest, expected.subarray(32 * MIB))).toBe(0);
  });
});
