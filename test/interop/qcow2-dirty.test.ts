import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { parseHeader } from "../../src/layers/qcow2/header.ts";
import { Qcow2Image } from "../../src/layers/qcow2/image.ts";
import { readSnapshots } from "../../src/layers/qcow2/snapshots.ts";
import { afterCrash, random, recorder } from "./qcow2-recorder.ts";
import { corruptions } from "./qcow2-references.ts";
import { check, noise, openImage, qemuBytes, qemuIo, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 3 * 1024 * 1024;
/** Of the incompatible features' last byte. */
const DIRTY = 1;

interface Shape {
  readonly options: string;
  readonly snapshots?: number;
  readonly compressed?: boolean;
}

const shapes: readonly [string, Shape][] = [
  ["small clusters: refcount blocks are missing", { options: "cluster_size=512,refcount_bits=64" }],
  ["snapshots", { options: "cluster_size=4096", snapshots: 2 }],
  ["subclusters", { options: "extended_l2=on,cluster_size=16k", snapshots: 1 }],
  ["compressed", { options: "cluster_size=4096,refcount_bits=32", compressed: true, snapshots: 1 }],
  ["narrow refcounts", { options: "cluster_size=4096,refcount_bits=1" }],
];

/** An image that QEMU was killed over while it wrote with lazy refcounts. */
function dirty(name: string, { options, snapshots = 0, compressed }: Shape): string {
  const image = join(folder, `${name.replaceAll(/\W/g, "-")}.qcow2`);
  const o = `lazy_refcounts=on,${options}`;
  if (compressed) {
    const text = new Uint8Array(SIZE).map((_, i) => (i >> 9) & 0xff);
    run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", o, rawFile(join(folder, "text.raw"), text), image);
  } else run("qemu-img", "create", "-q", "-f", "qcow2", "-o", o, image, String(SIZE));
  for (let n = 0; n < snapshots; n++) {
    qemuIo(image, `write -P ${n + 1} ${n * 300}k 400k`);
    run("qemu-img", "snapshot", "-c", `s${n}`, image);
  }
  const commands = ["write -P 90 100k 700k", "discard 200k 64k", "write -P 91 1500k 1300k", "flush", "sigraise 9"];
  const killed = spawnSync("qemu-io", ["-f", "qcow2", ...commands.flatMap((c) => ["-c", c]), image]);
  expect(killed.signal).toBe("SIGKILL");
  expect(readFileSync(image)[79]! & DIRTY).toBe(DIRTY);
  return image;
}

describe("an image that is marked dirty", () => {
  it.each(shapes)("is read, and its refcounts are made right before the first write: %s", async (name, shape) => {
    const image = dirty(name, shape);
    // What QEMU makes of it.
    expect(check(image).status).toBe(2);
    const repaired = `${image}.repaired`;
    copyFileSync(image, repaired);
    run("qemu-img", "check", "-q", "-r", "all", repaired);
    const model = qemuBytes(repaired);
    const snapshots = Array.from({ length: shape.snapshots ?? 0 }, (_, n) => qemuBytes(repaired, `s${n}`));

    const opened = await openImage(image, true);
    expect(opened.layer.info.findings.map((f) => f.code)).toEqual(["qcow2-dirty"]);
    expect(Buffer.compare(await readBytes(opened.disk, 0, SIZE), model)).toBe(0);
    expect(readFileSync(image)[79]! & DIRTY).toBe(DIRTY);
    for (const [at, length] of [
      [0, 5000],
      [150_000, 300_001],
      [2_000_000, 700],
    ] as const) {
      const bytes = noise(length, at + 3);
      await opened.disk.write(bytes, at);
      model.set(bytes, at);
    }
    await opened[Symbol.asyncDispose]();
    expect(readFileSync(image)[79]! & DIRTY).toBe(0);
    // No error, and nothing leaked.
    expect(check(image)).toMatchObject({ status: 0 });
    expect(Buffer.compare(qemuBytes(image), model)).toBe(0);
    for (const [n, bytes] of snapshots.entries()) expect(Buffer.compare(qemuBytes(image, `s${n}`), bytes)).toBe(0);
  });

  it("is dirty as before or sound after a power cut at any write", async () => {
    const image = dirty("power", { options: "cluster_size=512,refcount_bits=32", snapshots: 1 });
    const start = readFileSync(image);
    const before = qemuBytes(image, "s0");
    const { device, events } = recorder(start);
    const header = parseHeader(await readBytes(device, 0, 512), DEFAULT_LIMITS);
    const snapshots = await readSnapshots(device, header, DEFAULT_LIMITS);
    const disk = await Qcow2Image.open({ file: device, header, snapshots, backing: null, limits: DEFAULT_LIMITS });
    const old = new Uint8Array(SIZE);
    await disk.read(old, 0);
    const now = Uint8Array.from(old);
    now.set(noise(70_000, 5), 120_000);
    await disk.write(noise(70_000, 5), 120_000);
    await disk.settle();

    const rand = random(4);
    let soundStates = 0;
    for (let n = 0; n < 400; n++) {
      const until = n === 0 ? events.length : Math.floor(rand() * events.length);
      const keep = rand();
      const state = afterCrash(start, events, until, () => rand() < keep);
      const isDirty = (state[79]! & DIRTY) !== 0;
      if (!isDirty) {
        soundStates++;
        expect(corruptions(state), `event ${until} of ${events.length}`).toEqual([]);
      }
      if (n % 50 !== 0) continue;
      const path = join(folder, "state.qcow2");
      writeFileSync(path, state);
      if (isDirty) run("qemu-img", "check", "-q", "-r", "all", path);
      else expect([0, 3]).toContain(check(path).status);
      const bytes = qemuBytes(path);
      for (let i = 0; i < SIZE; i++) if (bytes[i] !== old[i] && bytes[i] !== now[i]) expect.fail(`byte ${i}`);
      expect(Buffer.compare(qemuBytes(path, "s0"), before)).toBe(0);
    }
    expect(soundStates).toBeGreaterThan(5);
  });

  it("is not written to when it is more than dirty, or has more to count than is allowed", async () => {
    const image = dirty("worse", { options: "cluster_size=4096" });
    const refuse = async (limits: { qcow2RebuildBytes?: number }) => {
      const opened = await openImage(image, true, limits);
      const error: unknown = await opened.disk.write(noise(10, 1), 0).catch((e: unknown) => e);
      await opened[Symbol.asyncDispose]();
      return error;
    };
    const bytes = readFileSync(image);
    expect(await refuse({ qcow2RebuildBytes: 100 })).toMatchObject({ code: "limit", hint: /qcow2RebuildBytes/ });
    expect(Buffer.compare(readFileSync(image), bytes)).toBe(0);
    // A guest cluster on an L2 table.
    const l1 = Number(bytes.readBigUInt64BE(40));
    const l2 = Number(bytes.readBigUInt64BE(l1) & 0xffffffffffff00n);
    bytes.writeBigUInt64BE(BigInt(l2) | (1n << 63n), l2);
    writeFileSync(image, bytes);
    expect(await refuse({})).toMatchObject({ code: "corrupt", message: /lies on an L2 table/ });
    expect(Buffer.compare(readFileSync(image), bytes)).toBe(0);
  });
});
