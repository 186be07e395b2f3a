import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { check, noise, openImage, qemuBytes, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 2 * 1024 * 1024;
/** Text that compresses well, so that many clusters share one host cluster, with noise between. */
const text = new Uint8Array(SIZE).map((_, i) => ((i >> 9) * 7 + (i & 15)) & 0xff);
for (let at = 0; at < SIZE; at += 300_000) text.set(noise(20_000, at + 1), at);
const raw = rawFile(join(folder, "text.raw"), text);

describe("compressed clusters that are written over", () => {
  it.each([
    ["zlib", "compression_type=zlib", 0],
    ["zstd", "compression_type=zstd", 0],
    ["zlib small", "compression_type=zlib,cluster_size=4096", 2],
    ["zstd small", "compression_type=zstd,cluster_size=4096,refcount_bits=32", 2],
    ["zstd subclusters", "compression_type=zstd,extended_l2=on,cluster_size=32k", 1],
    ["zlib 2 MiB", "compression_type=zlib,cluster_size=2M", 1],
  ])("keep the refcounts of the host clusters that they share: %s", async (name, options, snapshots) => {
    const image = join(folder, `${name.replaceAll(" ", "-")}.qcow2`);
    run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, image);
    for (let n = 0; n < snapshots; n++) run("qemu-img", "snapshot", "-c", `s${n}`, image);
    const model = Uint8Array.from(text);
    // One cluster after another, in pieces, so that each shared host cluster loses its references one by one.
    for (const round of [0, 1, 2]) {
      const opened = await openImage(image, true);
      for (let at = round * 70_000; at < SIZE - 5000; at += 210_000) {
        const bytes = noise(5000 + round * 13_000, at + round + 1).subarray(0, SIZE - at);
        await opened.disk.write(bytes, at);
        model.set(bytes, at);
      }
      const zeroed = 500_000 + round * 100_000;
      await opened.disk.zero(zeroed, 50_000);
      model.fill(0, zeroed, zeroed + 50_000);
      await opened[Symbol.asyncDispose]();
      const result = check(image);
      expect(result.status, result.text).toBe(0);
      expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
      for (let n = 0; n < snapshots; n++) expect(Buffer.compare(qemuBytes(image, `s${n}`), text)).toBe(0);
    }
    const opened = await openImage(image, true);
    await opened.disk.write(noise(SIZE, 9), 0);
    await opened[Symbol.asyncDispose]();
    expect(check(image)).toMatchObject({ status: 0 });
    expect(check(image).text).toContain(snapshots === 0 ? "0.00% compressed" : "No errors");
    expect(Buffer.compare(qemuBytes(image), noise(SIZE, 9))).toBe(0);
  });
});

describe("header extensions", () => {
  it("that nobody knows are kept, with bitmaps marked inconsistent as the specification says", async () => {
    const image = join(folder, "extensions.qcow2");
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image);
    run("qemu-img", "bitmap", "--add", image, "kept");
    // Behind the last extension: type, length, and 13 bytes with padding.
    const bytes = readFileSync(image);
    let end = bytes.readUInt32BE(100);
    while (bytes.readUInt32BE(end) !== 0) end += 8 + Math.ceil(bytes.readUInt32BE(end + 4) / 8) * 8;
    bytes.writeUInt32BE(0x0badcafe, end);
    bytes.writeUInt32BE(13, end + 4);
    bytes.write("of the future", end + 8, "latin1");
    writeFileSync(image, bytes);
    const info = () => JSON.parse(run("qemu-img", "info", "--output=json", image)) as Record<string, never>;
    expect(JSON.stringify(info())).toContain('"name":"kept"');

    const opened = await openImage(image, true);
    const model = Uint8Array.from(text);
    const change = noise(100_000, 4);
    await opened.disk.write(change, 50_000);
    model.set(change, 50_000);
    await opened[Symbol.asyncDispose]();
    const after = readFileSync(image);
    expect(Buffer.compare(after.subarray(104, end + 24), bytes.subarray(104, end + 24))).toBe(0);
    expect(after.readBigUInt64BE(88)).toBe(0n);
    // QEMU passes over bitmaps that may be wrong, reads the rest, and writes to the image.
    expect(JSON.stringify(info())).not.toContain('"name":"kept"');
    expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
    expect([0, 3]).toContain(check(image).status);
    run("qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 64k", image);
    model.fill(5, 2 ** 20, 2 ** 20 + 65536);
    expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
  });

  it("nothing at all is changed by reading", async () => {
    const image = join(folder, "untouched.qcow2");
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "lazy_refcounts=on", raw, image);
    run("qemu-img", "bitmap", "--add", image, "kept");
    const bytes = readFileSync(image);
    const opened = await openImage(image, true);
    await opened.disk.read(new Uint8Array(SIZE), 0);
    await opened.disk.flush();
    await opened[Symbol.asyncDispose]();
    expect(Buffer.compare(readFileSync(image), bytes)).toBe(0);
  });
});
