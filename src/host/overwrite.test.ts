import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FileDevice, openFileDevice } from "../core/file-device.ts";
import { systemHoles } from "./holes.ts";
import { overwrite, readSamplesAgain, type Segment } from "./overwrite.ts";

const MIB = 1024 * 1024;
let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-overwrite-"));
  path = join(folder, "disk");
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(size: number, ...pieces: [at: number, bytes: Uint8Array][]): void {
  const fd = openSync(path, "w");
  for (const [at, bytes] of pieces) writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
  truncateSync(path, size);
}
const opened = () => openFileDevice(path, { writable: true, holes: systemHoles() });

async function run(from = 0, stop = Number.POSITIVE_INFINITY, device: FileDevice = opened()): Promise<Segment[]> {
  await using disk = device;
  const segments: Segment[] = [];
  const onSegment = (s: Segment) => {
    segments.push(s);
    if (segments.length >= stop) throw new Error("killed");
  };
  await overwrite(disk, { from, end: disk.size, segmentBytes: MIB, onSegment }).catch((error: Error) => {
    if (error.message !== "killed") throw error;
  });
  return segments;
}

describe("overwriting", () => {
  it("leaves no block of what was there, up to the last byte, and fills no hole", async () => {
    const old = Buffer.alloc(2 * MIB + 700, "plaintext of the mail server. ");
    file(5 * MIB + 700, [0, old.subarray(0, 1000)], [3 * MIB, old]);
    const blocks = statSync(path).blocks;
    const segments = await run();
    expect(segments.map((s) => [s.at, s.length])).toEqual([0, 1, 2, 3, 4, 5].map((i) => [i * MIB, i < 5 ? MIB : 700]));
    const now = readFileSync(path);
    expect([now.length, statSync(path).blocks]).toEqual([5 * MIB + 700, blocks]);
    expect(now.includes("plaintext")).toBe(false);
    const zeros = Buffer.alloc(16);
    let left = 0;
    for (let at = 3 * MIB; at < now.length; at += 16) if (now.subarray(at, at + 16).equals(zeros)) left++;
    expect(left).toBe(0);
    expect(now.subarray(MIB, 3 * MIB).every((b) => b === 0)).toBe(true);
    await using device = opened();
    await readSamplesAgain(device, segments);
  });

  it("writes only what it is told that there is, where the device cannot tell", async () => {
    const old = Buffer.alloc(3 * MIB, "plaintext of the mail server. ");
    file(3 * MIB, [0, old]);
    const segments: Segment[] = [];
    {
      await using device = opened();
      // Over the end of a segment, and behind the end of the disk, as a pool's last block may reach.
      const only = [
        { offset: MIB - 65536, length: 131072 },
        { offset: 3 * MIB - 65536, length: 131072 },
      ];
      const onSegment = (s: Segment) => void segments.push(s);
      await overwrite(device, { from: 0, end: device.size, segmentBytes: MIB, only, onSegment });
      await readSamplesAgain(device, segments);
    }
    expect(segments.map((s) => s.bytes)).toEqual([65536, 65536, 65536]);
    const now = readFileSync(path);
    const same = (from: number, to: number) => now.subarray(from, to).equals(old.subarray(from, to));
    expect([same(0, MIB - 65536), same(MIB + 65536, 3 * MIB - 65536)]).toEqual([true, true]);
    expect(now.subarray(MIB - 65536, MIB + 65536).includes("plaintext")).toBe(false);
    expect(now.subarray(3 * MIB - 65536).includes("plaintext")).toBe(false);
    expect(now.length).toBe(3 * MIB);
  });

  it("goes on behind the last segment, with another key", async () => {
    file(3 * MIB, [0, Buffer.alloc(3 * MIB, "old")]);
    const first = await run(0, 1);
    const after = readFileSync(path);
    expect(after.subarray(MIB).includes("oldoldold")).toBe(true);
    const rest = await run(MIB);
    const now = readFileSync(path);
    expect(now.subarray(0, MIB).equals(after.subarray(0, MIB))).toBe(true);
    expect(now.includes("oldoldold")).toBe(false);
    expect(now.subarray(0, MIB).equals(now.subarray(MIB, 2 * MIB))).toBe(false);
    await using device = opened();
    await readSamplesAgain(device, [...first, ...rest]);
  });

  it("does not believe a medium that keeps the old bytes", async () => {
    file(MIB, [0, randomBytes(MIB)]);
    const device = opened();
    Object.assign(device, { write: async () => {} });
    await expect(run(0, 9, device)).rejects.toMatchObject({ code: "io", message: /is not what was written/ });
  });

  it("does not believe samples that were changed since", async () => {
    file(MIB, [0, randomBytes(MIB)]);
    const segments = await run();
    file(MIB, [0, Buffer.alloc(MIB, 1)]);
    await using device = opened();
    await expect(readSamplesAgain(device, segments)).rejects.toMatchObject({ code: "io" });
  });
});
