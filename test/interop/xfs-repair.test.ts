import { createHash } from "node:crypto";
import { closeSync, copyFileSync, createReadStream, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CheckOptions, check } from "../../src/usecases/check.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { passphrases } from "../helpers/keys.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
const disk = join(folder.path, "disk.raw");
const clean = join(folder.path, "clean.raw");
const MIB = 1024 * 1024;
const stateBefore = process.env.UNTERBAU_STATE_DIR;

beforeAll(() => {
  process.env.UNTERBAU_STATE_DIR = join(folder.path, "state");
  sparseFile(clean, 300 * MIB);
  run("mkfs.xfs", "-q", clean);
});
afterAll(() => {
  if (stateBefore === undefined) delete process.env.UNTERBAU_STATE_DIR;
  else process.env.UNTERBAU_STATE_DIR = stateBefore;
  folder.remove();
});

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** Throws unless xfs_repair itself, outside of any cage, finds nothing. */
const mustBeSound = (path: string) => run("xfs_repair", "-f", "-n", path);

async function ours(options: Partial<CheckOptions> = {}) {
  const all = { preen: false, force: false, repair: false, timeoutMs: 60_000, ...options };
  const doc = await check({ sources: [disk], keys: passphrases(), volumes: [], ...all });
  return { ...doc.volumes[0]!, run: doc.run };
}

describe("a sound file system", () => {
  beforeEach(() => copyFileSync(clean, disk));

  it("is clean, and a repair leaves every byte as it is", async () => {
    const before = await sha256(disk);
    expect(await ours({ repair: true })).toMatchObject({ verdict: "clean", changedBytes: 0, run: null });
    expect(await sha256(disk)).toBe(before);
  });
});

describe("a damaged file system", () => {
  let before = "";
  beforeEach(async () => {
    copyFileSync(clean, disk);
    // Blocks 1 and 2 hold the roots of the free space trees (XFS Algorithms & Data Structures, "AG Free Space Management").
    const fd = openSync(disk, "r+");
    writeSync(fd, new Uint8Array(2 * 4096).fill(0xa5), 0, 2 * 4096, 4096);
    closeSync(fd);
    before = await sha256(disk);
  });

  it("is repaired on the overlay in a preview, and nothing is written", async () => {
    const result = await ours();
    expect(result).toMatchObject({ verdict: "would-repair", run: null });
    expect(result.changedBytes).toBeGreaterThan(0);
    expect(await sha256(disk)).toBe(before);
  });

  it("is repaired for good with --repair, as xfs_repair confirms, and undone byte for byte", async () => {
    const result = await ours({ repair: true });
    expect(result.verdict).toBe("repaired");
    mustBeSound(disk);
    await undoRun(result.run!);
    expect(await sha256(disk)).toBe(before);
  });

  it("is only looked at with --preen: no repair of xfs_repair is safe without a question", async () => {
    expect(await ours({ repair: true, preen: true })).toMatchObject({ verdict: "errors-left", run: null });
    expect(await sha256(disk)).toBe(before);
  });
});

describe("a dirty log", () => {
  let before = "";
  beforeEach(async () => {
    const packed = brotliDecompressSync(readFileSync(new URL("../fixtures/xfs/dirty-log.blocks.br", import.meta.url)));
    const pieces: [number, Uint8Array][] = [];
    for (let at = 8; at < packed.length; at += 8 + 4096)
      pieces.push([packed.readDoubleBE(at), packed.subarray(at + 8, at + 8 + 4096)]);
    sparseFile(disk, packed.readDoubleBE(0), pieces);
    before = await sha256(disk);
  });
  afterEach(async () => expect(await sha256(disk)).toBe(before));

  it("is said as such and never zeroed by itself", async () => {
    for (const repair of [false, true]) {
      const result = await ours({ repair, force: repair });
      expect(result).toMatchObject({ verdict: "not-checked", changedBytes: 0, run: null });
      expect(result.reason).toMatch(/log has changes that are not replayed.*--xfs-zero-log/);
    }
  });

  it("is thrown away with --xfs-zero-log: on the overlay in a preview, and for good with --repair", async () => {
    const preview = await ours({ zeroLog: true });
    expect(preview).toMatchObject({ verdict: "would-repair", run: null });
    expect(preview.reason).toContain("log was thrown away");
    expect(await sha256(disk)).toBe(before);
    const repaired = await ours({ zeroLog: true, repair: true });
    expect(repaired).toMatchObject({ verdict: "repaired", reason: expect.stringContaining("log was thrown away") });
    expect(mustBeSound(disk)).not.toContain("valuable metadata");
    await undoRun(repaired.run!);
  });
});
