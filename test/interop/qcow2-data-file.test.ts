import { copyFileSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { openForWriting } from "../../src/usecases/open-for-writing.ts";
import { readableVolume } from "../../src/usecases/readable-volume.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { check, noise, openImage, qemuBytes, qemuIo, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 1024 * 1024 + 512;
const RAW_BIT = 2;

// QEMU's own tools look for a relative name in the folder that they are started in; libvirt, as we do, beside the image.
const before = process.cwd();
beforeAll(() => process.chdir(folder));
afterAll(() => process.chdir(before));

function build(name: string, options: string): { image: string; data: string } {
  const image = join(folder, `${name}.qcow2`);
  const data = join(folder, `${name}.data`);
  run("qemu-img", "create", "-q", "-f", "qcow2", "-o", `data_file=${name}.data,${options}`, image, String(SIZE));
  qemuIo(image, "write -P 5 0 100k", "write -P 6 300k 100k", "write -z 320k 32k", "discard 64k 64k");
  return { image, data };
}

describe("an external data file", () => {
  it.each([
    ["plain", "data_file_raw=off", false],
    ["small", "cluster_size=4096", false],
    ["subclusters", "extended_l2=on,cluster_size=16k", false],
    ["raw", "data_file_raw=on", true],
    ["raw-subclusters", "data_file_raw=on,extended_l2=on", true],
  ])("reads as in QEMU, and QEMU reads what was written here: %s", async (name, options, raw) => {
    const { image, data } = build(name, options);
    const model = Uint8Array.from(qemuBytes(image));
    const length = statSync(data).size;
    const opened = await openImage(image, true);
    expect(opened.layer.info.details.dataFile).toBe(`${name}.data`);
    expect(Buffer.compare(await readBytes(opened.disk, 0, SIZE), model)).toBe(0);
    for (const [at, count] of [
      [0, 700],
      [70_000, 3000],
      [330_000, 1000],
      [700_000, 130_000],
      [SIZE - 600, 600],
    ] as const) {
      const bytes = noise(count, at + 1);
      await opened.disk.write(bytes, at);
      model.set(bytes, at);
    }
    await opened.disk.zero(10_000, 80_000);
    model.fill(0, 10_000, 90_000);
    await opened.disk.discard(720_000, 100_000);
    const now = await readBytes(opened.disk, 0, SIZE);
    for (let i = 0; i < SIZE; i++) if (now[i] !== model[i]) expect(now[i]).toBe(0);
    model.set(now);
    await opened[Symbol.asyncDispose]();
    expect(check(image)).toMatchObject({ status: 0 });
    expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
    const header = readFileSync(image);
    expect(header[95]! & RAW_BIT).toBe(raw ? RAW_BIT : 0);
    if (raw) {
      // Readable without the image, as the autoclear bit promises, and no longer than the disk.
      expect(Buffer.compare(readFileSync(data).subarray(0, SIZE), model)).toBe(0);
      expect(statSync(data).size).toBe(length);
    }
  });

  it("is named when it is missing, and an image with one that claims snapshots is not written to", async () => {
    const { image, data } = build("missing", "cluster_size=64k");
    const bytes = readFileSync(image);
    rmSync(data);
    await expect(openImage(image, false)).rejects.toThrow(/missing\.data/);
    rawFile(data, new Uint8Array(SIZE));
    bytes.writeUInt32BE(1, 60);
    bytes.writeBigUInt64BE(65536n, 64);
    rawFile(image, bytes);
    await expect(openImage(image, true)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("belongs to the run: committed, logged and undone together with the image", async () => {
    const { image, data } = build("run", "cluster_size=64k");
    process.env.UNTERBAU_STATE_DIR = join(folder, "state");
    const before = [readFileSync(image), readFileSync(data)];
    const options = { sources: [image], keys: { secretsFor: async () => [] } };
    const opened = await openForWriting(options, "test");
    const { device } = readableVolume(opened.stack, "disk1");
    await device.write(noise(5000, 9), 100);
    await device.write(noise(5000, 8), 600_000);
    await device.flush();
    expect(Buffer.compare(readFileSync(data), before[1]!)).toBe(0);
    await opened.run.commit();
    await opened[Symbol.asyncDispose]();
    expect(check(image).status).toBe(0);
    expect(Buffer.compare(qemuBytes(image).subarray(100, 5100), noise(5000, 9))).toBe(0);
    expect(Buffer.compare(qemuBytes(image).subarray(600_000, 605_000), noise(5000, 8))).toBe(0);
    await undoRun(opened.run.id);
    expect(Buffer.compare(readFileSync(image), before[0]!)).toBe(0);
    expect(Buffer.compare(readFileSync(data), before[1]!)).toBe(0);
  });

  it("is not opened when only the first bytes of a file say that it is an image: a guest could name a neighbour's disk", async () => {
    const { image, data } = build("guessed", "cluster_size=64k");
    const disk = join(folder, "guest.img");
    copyFileSync(image, disk);
    const before = readFileSync(data);
    const options = { sources: [disk], keys: { secretsFor: async () => [] } };
    const refused = await openForWriting(options, "test");
    expect(() => readableVolume(refused.stack, "disk1")).toThrow(/--format qcow2/);
    await refused[Symbol.asyncDispose]();
    for (const word of [{ format: "qcow2" as const }, { allowPath: [folder] }]) {
      const trusted = await openForWriting({ ...options, ...word }, "test");
      expect(readableVolume(trusted.stack, "disk1").device.caps.writable).toBe(true);
      await trusted[Symbol.asyncDispose]();
    }
    expect(Buffer.compare(readFileSync(data), before)).toBe(0);
  });
});
