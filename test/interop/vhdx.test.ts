import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { openImage, openLayer, qemuBytes, run, sameContent, sparseNoise, temporaryFolder } from "./image-tools.ts";
import { type Change, logEntry, markLog, putEntry } from "./vhdx-log.ts";

const folder = temporaryFolder();
const raw = join(folder, "source.raw");
const content = sparseNoise(raw, 13 * 1024 * 1024 + 1536);
const MIB = 1024 * 1024;

function convert(name: string, ...options: string[]): string {
  const image = join(folder, `${name}.vhdx`);
  run("qemu-img", "convert", "-f", "raw", "-O", "vhdx", ...options.flatMap((o) => ["-o", o]), raw, image);
  return image;
}

describe("VHDX as QEMU makes it", () => {
  it.each([
    ["dynamic", ["block_size=1M"]],
    ["fixed", ["subformat=fixed"]],
    ["large-blocks", ["block_size=32M"]],
    ["states", ["block_state_zero=off", "block_size=1M"]],
  ])("%s", async (name, options) => {
    const image = convert(name, ...options);
    expect(Buffer.compare(qemuBytes(image, "vhdx"), content)).toBe(0);
    await sameContent(image, "vhdx", content);
    await using opened = await openImage(image, "vhdx");
    expect(opened.layer.info.findings).toEqual([]);
    expect(opened.layer.info.details).toMatchObject({
      subformat: name === "fixed" ? "fixed" : "dynamic",
      logicalSectorSize: 512,
      logReplayed: false,
    });
  });

  it("a disk so large that sector bitmaps stand between the block entries", async () => {
    const image = join(folder, "large.vhdx");
    run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", image, "1T");
    // One chunk is 4 GiB here: writes before, at and far behind chunk borders.
    const writes = [0, 4096 * MIB - 4096, 4096 * MIB, 50 * 4096 * MIB + 77 * 4096, 2 ** 40 - 4096];
    run("qemu-io", "-f", "vhdx", ...writes.flatMap((at, i) => ["-c", `write -P ${i + 1} ${at} 4096`]), image);
    await using opened = await openImage(image, "vhdx");
    const bytes = new Uint8Array(8192);
    for (const [i, at] of writes.entries()) {
      await opened.disk.read(bytes.subarray(0, 4096), at);
      expect(bytes.subarray(0, 4096).every((b) => b === i + 1)).toBe(true);
    }
    const data: number[] = [];
    for await (const e of opened.disk.extents(0, opened.disk.size))
      if (e.kind === "data") data.push(e.offset, e.length);
    expect(data).toEqual([0, MIB, 4095 * MIB, 2 * MIB, 50 * 4096 * MIB, MIB, 2 ** 40 - MIB, MIB]);
  });
});

describe("the log of a VHDX that was not closed", () => {
  const LOG_AT = MIB;
  const BAT_AT = 2 * MIB;
  const guid = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  const clean = readFileSync(convert("clean", "block_size=1M"));
  /** The block table with some entries changed. */
  const bat = (edit: (table: Buffer) => void): Change => {
    const table = Buffer.from(clean.subarray(BAT_AT, BAT_AT + 4096));
    edit(table);
    return { at: BAT_AT, bytes: table };
  };
  const payload = (block: number) => Number(clean.readBigUInt64LE(BAT_AT + block * 8) >> 20n) * MIB;
  const entry = (sequence: bigint, tail: number, changes: readonly Change[]) =>
    logEntry({ guid, sequence, tail, fileSize: clean.length, changes });

  /** What QEMU makes of the image: it replays the log of one that is opened for writing. */
  function byQemu(image: Buffer): Uint8Array {
    const path = join(folder, "replayed.vhdx");
    writeFileSync(path, image);
    run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", path);
    return qemuBytes(path, "vhdx");
  }

  async function sameAsQemu(image: Buffer): Promise<void> {
    const path = join(folder, "dirty.vhdx");
    writeFileSync(path, image);
    const expected = byQemu(image);
    expect(Buffer.compare(expected, content)).not.toBe(0);
    await sameContent(path, "vhdx", expected);
    expect(readFileSync(path).equals(image)).toBe(true);
    await using opened = await openImage(path, "vhdx");
    expect(opened.layer.info.findings.map((f) => f.code)).toEqual(["vhdx-log"]);
  }

  it("one entry: a table sector, and zeros in a block", async () => {
    const image = Buffer.from(clean);
    const changes = [bat((t) => t.writeBigUInt64LE(2n, 0)), { at: payload(1) + 8192, zeros: 3 * 4096 }];
    putEntry(image, LOG_AT, MIB, 0, entry(7n, 0, changes));
    markLog(image, guid);
    await sameAsQemu(image);
  });

  it("a sequence round the end of the log, behind an older one and before a torn one", async () => {
    const image = Buffer.from(clean);
    const start = MIB - 8192;
    const first = entry(41n, start, [bat((t) => t.writeBigUInt64LE(2n, 8))]);
    const second = entry(42n, start, [bat((t) => t.writeBigUInt64LE(2n, 16)), { at: payload(0) + 4096, zeros: 4096 }]);
    const torn = entry(43n, start, [bat((t) => t.fill(0))]);
    torn[torn.length - 100]! ^= 1;
    putEntry(image, LOG_AT, MIB, 64 * 1024, entry(12n, 64 * 1024, [bat((t) => t.fill(0))]));
    putEntry(image, LOG_AT, MIB, start, first);
    putEntry(image, LOG_AT, MIB, 0, second);
    putEntry(image, LOG_AT, MIB, second.length, torn);
    markLog(image, guid);
    await sameAsQemu(image);
  });

  it("more descriptors than one sector holds; above the limit, or with entries that overlap: refused", async () => {
    // QEMU reads no more than 126 descriptors (its buffer for them does not move on): what they do is plain enough to be said here.
    const many = Buffer.from(clean);
    const places = Array.from({ length: 300 }, (_, i) => ((i * 7) % 250) * 4096);
    const expected = Uint8Array.from(content);
    for (const at of places) expected.fill(0, MIB + at, MIB + at + 4096);
    putEntry(
      many,
      LOG_AT,
      MIB,
      0,
      entry(
        3n,
        0,
        places.map((at) => ({ at: payload(1) + at, zeros: 4096 })),
      ),
    );
    markLog(many, guid);
    writeFileSync(join(folder, "dirty.vhdx"), many);
    await sameContent(join(folder, "dirty.vhdx"), "vhdx", expected);
    const limits = { vhdxLogBytes: MIB - 1 };
    await using file = openFileDevice(join(folder, "dirty.vhdx"));
    await expect(openLayer(file, "vhdx", null, { limits })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringContaining(`vhdxLogBytes=${MIB}`),
    });
    const overlapping = Buffer.from(clean);
    const claim = entry(1n, 0, []);
    claim.writeUInt32LE(MIB, 8);
    for (let at = 0; at < MIB; at += 4096) putEntry(overlapping, LOG_AT, MIB, at, claim);
    markLog(overlapping, guid);
    await expect(openLayer(memoryDevice(overlapping), "vhdx", null)).rejects.toMatchObject({
      code: "corrupt",
      message: "the log's entries overlap",
    });
  });

  const refusals: readonly (readonly [string, (image: Buffer) => void, string])[] = [
    ["no valid entry", () => {}, "corrupt"],
    [
      "an entry of another log",
      (i) =>
        putEntry(
          i,
          LOG_AT,
          MIB,
          0,
          logEntry({ guid: new Uint8Array(16).fill(9), sequence: 1n, tail: 0, fileSize: i.length, changes: [] }),
        ),
      "corrupt",
    ],
    ["a tail that is not in the sequence", (i) => putEntry(i, LOG_AT, MIB, 0, entry(5n, 8192, [])), "corrupt"],
    [
      "a file that was longer once",
      (i) =>
        putEntry(i, LOG_AT, MIB, 0, logEntry({ guid, sequence: 1n, tail: 0, fileSize: i.length + 4096, changes: [] })),
      "corrupt",
    ],
  ];
  it.each(refusals)("%s", async (_name, edit, code) => {
    const image = Buffer.from(clean);
    edit(image);
    markLog(image, guid);
    const path = join(folder, "refused.vhdx");
    writeFileSync(path, image);
    const file = openFileDevice(path);
    await expect(openLayer(file, "vhdx", path)).rejects.toMatchObject({ code, layer: "vhdx" });
    await file[Symbol.asyncDispose]();
  });
});
