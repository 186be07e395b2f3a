import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StorageError } from "../core/errors.ts";
import { openFileDevice } from "../core/file-device.ts";
import { punchHole, systemHoles } from "./holes.ts";

const MIB = 1024 * 1024;
let dir: string;
let path: string;
let fd: number;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "unterbau-holes-"));
  path = join(dir, "sparse");
  fd = openSync(path, "w+");
});

afterEach(() => {
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

describe("systemHoles", () => {
  it("finds data behind a hole, beyond 4 GiB, and the hole after it", () => {
    const at = 5 * 1024 * MIB;
    writeSync(fd, Buffer.alloc(MIB, 1), 0, MIB, at);
    ftruncateSync(fd, at + 3 * MIB);
    const holes = systemHoles();
    expect(holes.nextData(fd, 0)).toBe(at);
    expect(holes.nextHole(fd, at)).toBe(at + MIB);
    expect(holes.nextData(fd, at + MIB)).toBeNull();
  });

  it("tells a bad descriptor from the end of the data", () => {
    expect(() => systemHoles().nextData(99999, 0)).toThrow(StorageError);
    expect(() => systemHoles().nextHole(99999, 0)).toThrow("EBADF");
  });

  it("agrees with qemu-img map through the file device", async () => {
    ftruncateSync(fd, 8 * MIB);
    writeSync(fd, Buffer.alloc(MIB, 7), 0, MIB, 2 * MIB);
    writeSync(fd, Buffer.alloc(65536, 9), 0, 65536, 6 * MIB);
    const map = JSON.parse(
      execFileSync("qemu-img", ["map", "--output=json", "-f", "raw", path], { encoding: "utf8" }),
    ) as { start: number; length: number; data: boolean }[];
    await using device = openFileDevice(path, { holes: systemHoles() });
    const seen: { start: number; length: number; data: boolean }[] = [];
    for await (const e of device.extents(0, device.size)) {
      seen.push({ start: e.offset, length: e.length, data: e.kind === "data" });
    }
    expect(seen).toEqual(map.map(({ start, length, data }) => ({ start, length, data })));
  });
});

describe("punchHole", () => {
  it("gives space back, zeroes the range and keeps the size", () => {
    writeSync(fd, Buffer.alloc(4 * MIB, 5), 0, 4 * MIB, 0);
    const before = statSync(path).blocks;
    expect(punchHole(fd, MIB, 2 * MIB)).toBe(true);
    expect(statSync(path).blocks).toBeLessThanOrEqual(before - (2 * MIB) / 512);
    expect(statSync(path).size).toBe(4 * MIB);
    const around = Buffer.alloc(2);
    readSync(fd, around, 0, 2, MIB - 1);
    expect([...around]).toEqual([5, 0]);
    expect(systemHoles().nextHole(fd, 0)).toBe(MIB);
  });

  it("throws on a descriptor that is not open", () => {
    expect(() => punchHole(99999, 0, 4096)).toThrow("EBADF");
  });
});
