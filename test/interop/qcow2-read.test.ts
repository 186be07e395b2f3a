import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import { allocatedClusters } from "../../src/layers/qcow2/driver.ts";
import { deviceConformance } from "../conformance/suite.ts";
import {
  check,
  context,
  noise,
  openImage,
  openOver,
  qemuBytes,
  qemuIo,
  rawFile,
  run,
  temporaryFolder,
} from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 3 * 1024 * 1024 + 512;

/** Half noise, a quarter of text that compresses, the rest zeros. */
function content(): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  bytes.set(noise(SIZE / 2, 3), 0);
  for (let i = Math.floor(SIZE / 2); i < Math.floor((SIZE * 3) / 4); i++) bytes[i] = 65 + ((i >> 7) % 26);
  return bytes;
}

const raw = rawFile(join(folder, "source.raw"), content());

function convert(name: string, options: string[], ...flags: string[]): string {
  const image = join(folder, `${name}.qcow2`);
  const o = options.length > 0 ? ["-o", options.join()] : [];
  run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", ...flags, ...o, raw, image);
  return image;
}

async function sameAsQemu(image: string): Promise<void> {
  const opened = await openImage(image, false);
  const expected = qemuBytes(image);
  expect(opened.disk.size).toBe(expected.length);
  expect(Buffer.compare(await readBytes(opened.disk, 0, expected.length), expected)).toBe(0);
  // Odd pieces, so that runs start and end inside clusters.
  for (let at = 333; at < expected.length; at += 98_765) {
    const length = Math.min(70_001, expected.length - at);
    expect(Buffer.compare(await readBytes(opened.disk, at, length), expected.subarray(at, at + length))).toBe(0);
  }
  for await (const e of opened.disk.extents(0, expected.length)) {
    if (e.kind !== "data") expect(expected.subarray(e.offset, e.offset + e.length).every((b) => b === 0)).toBe(true);
  }
  await opened[Symbol.asyncDispose]();
}

describe("reading qcow2 as QEMU does", () => {
  it.each([
    ["v2", ["compat=0.10"], []],
    ["c512", ["cluster_size=512"], []],
    ["c2M", ["cluster_size=2M"], []],
    ["r1", ["refcount_bits=1"], []],
    ["r64", ["refcount_bits=64", "cluster_size=4096"], []],
    ["lazy", ["lazy_refcounts=on"], []],
    ["meta", ["preallocation=metadata"], []],
    ["full", ["preallocation=full"], []],
    ["deflate", [], ["-c"]],
    ["deflate512", ["cluster_size=512"], ["-c"]],
    ["zstd", ["compression_type=zstd"], ["-c"]],
    ["zstd512", ["compression_type=zstd", "cluster_size=512"], ["-c"]],
    ["zstd2M", ["compression_type=zstd", "cluster_size=2M"], ["-c"]],
    ["deflate2M", ["cluster_size=2M", "compat=0.10"], ["-c"]],
  ])("%s", async (name, options, flags) => {
    await sameAsQemu(convert(name, options, ...flags));
  });

  it("zero clusters, plain and with an allocation, and discarded ones", async () => {
    const image = convert("zeros", ["cluster_size=4096"]);
    qemuIo(image, "write -z 8192 65536", "write -z -u 200k 100k", "discard 400k 64k", "write -z 100 5000");
    await sameAsQemu(image);
  });

  it("extended L2 entries: subclusters of every kind, with and without a backing file", async () => {
    const image = convert("subclusters", ["extended_l2=on", "cluster_size=16k"]);
    qemuIo(
      image,
      "write -z 8192 70000",
      "write -z -u 200k 100k",
      "discard 400k 64k",
      "write -z 100 5000",
      "write 1M 512",
    );
    await sameAsQemu(image);
    const top = join(folder, "subclusters-top.qcow2");
    const options = "extended_l2=on,cluster_size=128k";
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "-b", raw, "-F", "raw", top, "4M");
    qemuIo(
      top,
      "write -P 9 5k 700",
      "write -P 8 300k 20k",
      "write -z 310k 8k",
      "write -z 1M 300k",
      "write -P 7 3145k 4k",
    );
    await sameAsQemu(top);
    await sameAsQemu(convert("subclusters-c", ["extended_l2=on", "cluster_size=32k"], "-c"));
  });

  it("a backing chain: qcow2 over a shorter qcow2 over a longer raw", async () => {
    const middle = join(folder, "middle.qcow2");
    const top = join(folder, "top.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "source.raw", "-F", "raw", middle, "2M");
    qemuIo(middle, "write -P 33 100k 300k");
    run(
      "qemu-img",
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      "cluster_size=4096",
      "-b",
      "middle.qcow2",
      "-F",
      "qcow2",
      top,
      "5M",
    );
    qemuIo(top, "write -P 34 1900k 300k", "write -z 120k 8k");
    await sameAsQemu(top);
    const opened = await openImage(top, false);
    expect(opened.layer.info.details).toMatchObject({ backingFile: "middle.qcow2", backingFormat: "qcow2" });
    await opened[Symbol.asyncDispose]();
  });

  it.each([
    ["nested", (file: string) => ({ driver: "qcow2", file: { driver: "file", filename: file } }), "qcow2"],
    ["dotted", (file: string) => ({ "file.driver": "file", "file.filename": file }), "qcow2"],
    // The format in the header goes before the one in the reference.
    ["contradicting", (file: string) => ({ driver: "qcow2", "file.filename": file }), "raw"],
    [
      "with raw between",
      (file: string) => ({ driver: "raw", file: { driver: "qcow2", "file.filename": file } }),
      "raw",
    ],
    [
      "with options",
      (file: string) => ({ driver: "qcow2", file: { driver: "file", filename: file, locking: "off" } }),
      "",
    ],
  ])("a json: backing reference, %s", async (name, reference, format) => {
    const base = convert("json-base", []);
    const top = join(folder, `json-${name.replaceAll(" ", "-")}.qcow2`);
    const o = `backing_file=${`json:${JSON.stringify(reference(base))}`.replaceAll(",", ",,")}`;
    const f = format === "" ? "backing_fmt=qcow2" : `backing_fmt=${format}`;
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", `${o},${f}`, top, String(SIZE));
    await sameAsQemu(top);
  });

  it("a long chain of images with other cluster sizes, versions and sizes", async () => {
    let below = ["-b", "source.raw", "-F", "raw"];
    let top = "";
    const model = new Uint8Array(SIZE + 17 * 65536);
    model.set(content());
    for (let n = 0; n < 16; n++) {
      top = join(folder, `chain${n}.qcow2`);
      const options = [`cluster_size=${512 << (n % 6)}`, n % 3 === 0 ? "compat=0.10" : "compat=1.1"].join();
      run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, ...below, top, String(SIZE + n * 65536));
      qemuIo(top, `write -P ${n + 1} ${n * 100}k ${60 + n}k`);
      model.fill(n + 1, n * 102_400, n * 102_400 + (60 + n) * 1024);
      below = ["-b", `chain${n}.qcow2`, "-F", "qcow2"];
    }
    await sameAsQemu(top);
    await using opened = await openImage(top, false);
    expect(Buffer.compare(await readBytes(opened.disk, 0, opened.disk.size), model.subarray(0, opened.disk.size))).toBe(
      0,
    );
  });

  it("internal snapshots are listed and the active disk is read", async () => {
    const image = convert("snaps", []);
    run("qemu-img", "snapshot", "-c", "first", image);
    qemuIo(image, "write -P 1 0 200k");
    run("qemu-img", "snapshot", "-c", "zweiter Stand", image);
    await sameAsQemu(image);
    const info = JSON.parse(run("qemu-img", "info", "--output=json", image)) as {
      snapshots: { id: string; name: string; "vm-state-size": number; "date-sec": number }[];
    };
    const opened = await openImage(image, false);
    expect(opened.layer.info.details.snapshots).toEqual(
      info.snapshots.map((s) => ({
        id: s.id,
        name: s.name,
        date: new Date(s["date-sec"] * 1000).toISOString(),
        vmStateSize: s["vm-state-size"],
        diskSize: SIZE,
      })),
    );
    await opened[Symbol.asyncDispose]();
  });

  it("shows the header as qemu-img info does and counts clusters as qemu-img check does", async () => {
    const image = convert("info", ["cluster_size=8192", "refcount_bits=32", "lazy_refcounts=on"]);
    const info = JSON.parse(run("qemu-img", "info", "--output=json", image)) as {
      "virtual-size": number;
      "cluster-size": number;
      "format-specific": { data: { "refcount-bits": number; "lazy-refcounts": boolean } };
    };
    const counted = JSON.parse(run("qemu-img", "check", "--output=json", image)) as { "allocated-clusters": number };
    const opened = await openImage(image, false);
    expect(opened.layer.info.details).toMatchObject({
      version: 3,
      virtualSize: info["virtual-size"],
      clusterSize: info["cluster-size"],
      refcountBits: info["format-specific"].data["refcount-bits"],
      lazyRefcounts: info["format-specific"].data["lazy-refcounts"],
      compressionType: "deflate",
      dirty: false,
    });
    expect(await allocatedClusters(opened.layer)).toBe(counted["allocated-clusters"]);
    await opened[Symbol.asyncDispose]();
  });

  it("opens with a few small reads", async () => {
    const image = join(folder, "large.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "16G");
    qemuIo(image, "write -P 1 0 64k", "write -P 1 10G 64k");
    const file = openFileDevice(image);
    let bytes = 0;
    const read = file.read.bind(file);
    const counting = Object.create(file, {
      read: {
        value: (into: Uint8Array, at: number) => {
          bytes += into.length;
          return read(into, at);
        },
      },
      size: { value: file.size },
      caps: { value: file.caps },
      [Symbol.asyncDispose]: { value: () => file[Symbol.asyncDispose]() },
    }) as typeof file;
    const opened = await openOver(counting, context(folder, false));
    await readBytes(opened.disk, 10 * 2 ** 30, 512);
    expect(bytes).toBeLessThan(16 * 1024);
    await opened[Symbol.asyncDispose]();
  });
});

describe("writing what the property test seldom meets", () => {
  it("clears autoclear bits, keeps header extensions and says so before", async () => {
    const image = convert("bitmaps", []);
    run("qemu-img", "bitmap", "--add", image, "b0");
    const before = await readBytes(openFileDevice(image), 0, 4096);
    const opened = await openImage(image, true);
    expect(opened.layer.info.findings.map((f) => f.code)).toContain("qcow2-bitmaps");
    await opened.disk.write(noise(70_000, 5), 12_345);
    await opened[Symbol.asyncDispose]();
    const after = await readBytes(openFileDevice(image), 0, 4096);
    expect(after.subarray(88, 96).every((b) => b === 0)).toBe(true);
    expect(before.subarray(88, 96).some((b) => b !== 0)).toBe(true);
    before.set(after.subarray(48, 60), 48);
    before.fill(0, 88, 96);
    expect(Buffer.compare(before, after)).toBe(0);
    expect(check(image).text).not.toContain("ERROR");
  });

  it("grows the file by little and leaves no slack behind", async () => {
    const image = join(folder, "slack.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "1G");
    const before = statSync(image).size;
    const opened = await openImage(image, true);
    await opened.disk.write(noise(1000, 1), 5000);
    await opened[Symbol.asyncDispose]();
    // One data cluster and one L2 table.
    expect(statSync(image).size - Math.ceil(before / 65536) * 65536).toBe(2 * 65536);
    expect(check(image).status).toBe(0);
  });

  it("moves a full refcount table, several times", async () => {
    const image = join(folder, "grow.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", image, "12M");
    const bytes = noise(9 * 1024 * 1024 + 77, 9);
    const opened = await openImage(image, true);
    await opened.disk.write(bytes, 1_000_001);
    await opened[Symbol.asyncDispose]();
    expect(check(image)).toMatchObject({ status: 0 });
    expect(Buffer.compare(qemuBytes(image).subarray(1_000_001, 1_000_001 + bytes.length), bytes)).toBe(0);
  });

  it("says clearly when a device cannot grow, and stays sound", async () => {
    const image = join(folder, "fixed.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "10M");
    run("truncate", "-s", "1M", image);
    const file = openFileDevice(image, { writable: true, size: 1024 * 1024 });
    Object.defineProperty(file, "resize", { value: undefined });
    const opened = await openOver(file, context(folder, true));
    await opened.disk.write(noise(300_000, 4), 0);
    await expect(opened.disk.write(noise(3_000_000, 4), 1024 * 1024)).rejects.toMatchObject({
      code: "io",
      message: "no space left in the container",
    });
    await opened.disk.write(noise(1000, 8), 0);
    await opened[Symbol.asyncDispose]();
    expect(check(image)).toMatchObject({ status: 0 });
    expect(Buffer.compare(qemuBytes(image).subarray(1000, 300_000), noise(300_000, 4).subarray(1000))).toBe(0);
  });

  it("keeps many parallel requests apart", async () => {
    const image = join(folder, "parallel.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", image, "4M");
    const opened = await openImage(image, true);
    const model = new Uint8Array(4 * 1024 * 1024);
    const work: Promise<void>[] = [];
    for (let n = 0; n < 64; n++) {
      const bytes = noise(60_000, n + 1);
      model.set(bytes, n * 65_000);
      work.push(opened.disk.write(bytes, n * 65_000));
      if (n % 7 === 0) work.push(opened.disk.flush());
      if (n % 5 === 0) work.push(opened.disk.read(new Uint8Array(100_000), n * 1000));
    }
    await Promise.all(work);
    await opened[Symbol.asyncDispose]();
    expect(check(image).status).toBe(0);
    expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
  });
});

let n = 0;
for (const writable of [false, true]) {
  deviceConformance(
    `qcow2, ${writable ? "writable" : "read-only"}`,
    async () => {
      const image = convert(`conf${n++}`, ["cluster_size=4096"], "-c");
      qemuIo(image, "write -P 5 100k 30k", "write -z 200k 64k");
      const opened = await openImage(image, writable);
      const disk = opened.disk;
      return {
        device: disk,
        content: qemuBytes(image),
        ...(writable ? { reopen: async () => (await openImage(image, false)).disk } : {}),
        cleanup: async () => opened[Symbol.asyncDispose](),
      };
    },
    { runs: 8 },
  );
}
