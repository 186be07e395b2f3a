import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BlockDevice } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { Overlay } from "../../src/core/overlay.ts";
import { checkReads } from "../../src/extfs/check-reads.ts";
import type { FilePiece } from "../../src/fuse/push.ts";
import { findProgram } from "../../src/tools/find.ts";
import { runCaged } from "../helpers/caged.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";
import { context, openOver } from "./qcow2-tools.ts";

const e2fsck = findProgram("e2fsck")!;
const BUDGET = 64 * 1024 * 1024;
const folder = temporaryFolder();
const files = join(folder.path, "files");

beforeAll(() => {
  for (let d = 0; d < 40; d++) {
    mkdirSync(join(files, `d${d}`, "cur"), { recursive: true });
    for (let f = 0; f < 40; f++)
      writeFileSync(join(files, `d${d}`, "cur", `a-name-of-some-length-${f}`), "x".repeat(f * 50));
    symlinkSync("/".repeat(100), join(files, `d${d}`, "long"));
  }
});
afterAll(() => folder.remove());

function image(name: string, size: string, ...options: string[]): string {
  const path = join(folder.path, name);
  sparseFile(path, 0);
  run("truncate", "-s", size, path);
  run("mke2fs", "-q", "-F", "-d", files, ...options, path);
  return path;
}

async function look(device: BlockDevice, readAhead?: AsyncIterable<FilePiece>) {
  const overlay = new Overlay(device);
  try {
    const env = { ...process.env, E2FSCK_TIME: "1700000000" };
    const { exitCode, output, stats } = await runCaged(overlay, [e2fsck, "-fy", "{}"], { readAhead, env });
    const hash = createHash("sha256");
    const chunk = new Uint8Array(4 * 1024 * 1024);
    for (let at = 0; at < overlay.size; at += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, overlay.size - at));
      await overlay.read(part, at);
      hash.update(part);
    }
    return { exitCode, output, stats, content: hash.digest("hex") };
  } finally {
    await overlay[Symbol.asyncDispose]();
  }
}

describe("the metadata that e2fsck reads", () => {
  it.each([
    ["ext4", "200M", "-t", "ext4"],
    ["ext4 with small blocks", "200M", "-t", "ext4", "-b", "1024"],
    ["ext3, indirect blocks", "200M", "-t", "ext3"],
    ["ext2", "100M", "-t", "ext2", "-b", "2048"],
    ["meta_bg, 64bit", "200M", "-t", "ext4", "-O", "meta_bg,^resize_inode,64bit"],
    ["bigalloc, inline_data", "200M", "-t", "ext4", "-O", "bigalloc,inline_data"],
  ])("is in the kernel's cache before it begins: %s", async (name, size, ...options) => {
    await using device = openFileDevice(image(name, size, ...options), { writable: false });
    const cold = await look(device);
    const ahead = await look(device, checkReads(device, { budget: BUDGET }));
    expect(ahead.output).toBe(cold.output);
    expect([ahead.exitCode, ahead.content]).toEqual([cold.exitCode, cold.content]);
    expect(cold.exitCode).toBe(0);
    expect(cold.stats.reads).toBeGreaterThan(30);
    // Counted, not timed: what is left are blocks that only e2fsck's own work names.
    expect(ahead.stats.reads).toBeLessThan(16);
    expect(ahead.stats.bytesPushed).toBeLessThan(BUDGET);
  });

  it("comes from the device as it is, and a repair that writes there is the same with it", async () => {
    const path = image("damaged.raw", "100M", "-t", "ext4");
    run("debugfs", "-w", "-R", "clri d3", path);
    run("debugfs", "-w", "-R", "set_inode_field d7/cur/a-name-of-some-length-5 links_count 9", path);
    await using device = openFileDevice(path, { writable: false });
    const cold = await look(device);
    const ahead = await look(device, checkReads(device, { budget: BUDGET }));
    expect(cold.exitCode).toBe(1);
    expect(ahead).toMatchObject({ exitCode: 1, output: cold.output, content: cold.content });
  });

  it("tells the file below of each run before it is read, through an overlay and an image format", async () => {
    const raw = image("told.raw", "200M", "-t", "ext4");
    const qcow2 = join(folder.path, "told.qcow2");
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2);
    for (const path of [raw, qcow2]) {
      const told: [number, number][] = [];
      await using file = openFileDevice(path, { prefetcher: (_fd, offset, length) => told.push([offset, length]) });
      await using opened = path === raw ? null : await openOver(file, context(folder.path, false));
      await using overlay = new Overlay(opened?.disk ?? file);
      let bytes = 0;
      for await (const piece of checkReads(overlay, { budget: BUDGET })) {
        bytes += piece.bytes.length;
        // All that is data; holes of an image have no place.
        const sum = told.reduce((all, [, length]) => all + length, 0);
        if (path === raw) expect(sum).toBeGreaterThanOrEqual(bytes);
      }
      expect(told.length).toBeGreaterThan(5);
      for (const [offset, length] of told) expect(offset + length).toBeLessThanOrEqual(file.size);
      if (path === raw)
        expect(told.some(([offset, length]) => offset <= 1024 && offset + length > 1024 + 1024)).toBe(true);
    }
  });

  it("ends at its budget", async () => {
    await using device = openFileDevice(image("budget.raw", "100M", "-t", "ext4"), { writable: false });
    let bytes = 0;
    for await (const piece of checkReads(device, { budget: 300_000 })) bytes += piece.bytes.length;
    expect(bytes).toBeLessThanOrEqual(300_000);
    const little = await look(device, checkReads(device, { budget: 300_000 }));
    expect(little.exitCode).toBe(0);
  });

  it("ends on damage with a StorageError at most, and the check says what e2fsck says", async () => {
    const path = image("noise.raw", "16M", "-t", "ext4");
    const good = readFileSync(path);
    let seed = 5;
    const next = (below: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 60; round++) {
      const bytes = Uint8Array.from(good);
      for (let i = 0; i < 200; i++) bytes[next(round % 2 ? 8192 : 2 * 1024 * 1024)] = next(256);
      bytes.set(good.subarray(1024 + 56, 1024 + 58), 1024 + 56);
      let seen = 0;
      try {
        for await (const piece of checkReads(memoryDevice(bytes), { budget: BUDGET })) seen += piece.bytes.length;
      } catch (error) {
        expect(error).toBeInstanceOf(StorageError);
      }
      expect(seen).toBeLessThanOrEqual(BUDGET);
    }
  });
});
