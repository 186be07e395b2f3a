import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openFileDevice } from "./file-device.ts";

const flushes = vi.hoisted(() => ({ begun: 0, fail: false, finish: [] as (() => void)[] }));
vi.mock("node:fs", async (original) => ({
  ...(await original<typeof import("node:fs")>()),
  // As the kernel: an error is told to whoever flushes next, and to nobody after that.
  fdatasync: (_fd: number, done: (error: Error | null) => void) => {
    flushes.begun++;
    const error = flushes.fail ? Object.assign(new Error("EIO: i/o error"), { code: "EIO" }) : null;
    flushes.fail = false;
    flushes.finish.push(() => done(error));
    if (flushes.begun > 1) for (const finish of flushes.finish.splice(0)) finish();
  },
}));

const MIB = 1024 * 1024;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-flush-"));
  writeFileSync(join(folder, "disk"), new Uint8Array(66 * MIB));
  Object.assign(flushes, { begun: 0, fail: false, finish: [] });
});
afterEach(() => rmSync(folder, { recursive: true }));

async function written() {
  const device = openFileDevice(join(folder, "disk"), { writable: true, background: true });
  const piece = new Uint8Array(2 * MIB).fill(7);
  for (let at = 0; at < 66 * MIB; at += piece.length) await device.write(piece, at);
  return device;
}

it("sends on what was written before somebody waits for it, once at a time", async () => {
  const device = await written();
  expect(flushes.begun).toBe(1);
  const last = device.flush();
  for (const finish of flushes.finish.splice(0)) finish();
  await last;
  expect(flushes.begun).toBe(2);
  await device[Symbol.asyncDispose]();
  expect(readFileSync(join(folder, "disk"))[65 * MIB]).toBe(7);
});

it("does not where a file has holes yet", async () => {
  truncateSync(join(folder, "disk"), 0);
  truncateSync(join(folder, "disk"), 66 * MIB);
  const device = await written();
  expect(flushes.begun).toBe(0);
  await device[Symbol.asyncDispose]();
});

it("keeps an error of that for every flush that somebody waits for", async () => {
  flushes.fail = true;
  const device = await written();
  for (const finish of flushes.finish.splice(0)) finish();
  await expect(device.flush()).rejects.toMatchObject({ code: "io", message: expect.stringContaining("EIO") });
  await expect(device.flush()).rejects.toMatchObject({ code: "io" });
  await device[Symbol.asyncDispose]();
});

it("has the system begin to write what a growing file got, all of it, one part at a time", async () => {
  truncateSync(join(folder, "disk"), 0);
  truncateSync(join(folder, "disk"), 66 * MIB);
  const parts: { fd: number; offset: number; length: number; done: () => void }[] = [];
  const writeBack = (fd: number, offset: number, length: number) =>
    new Promise<void>((done) => {
      parts.push({ fd, offset, length, done });
    });
  const device = openFileDevice(join(folder, "disk"), { writable: true, background: true, writeBack });
  const piece = new Uint8Array(4 * MIB).fill(7);
  for (let at = 0; at < 32 * MIB; at += piece.length) await device.write(piece, at);
  expect(parts.map(({ offset, length }) => [offset, length])).toEqual([[0, 16 * MIB]]);
  parts[0]!.done();
  // What came meanwhile goes with the next.
  await device.write(piece, 32 * MIB);
  expect(parts.map(({ offset, length }) => [offset, length])).toEqual([
    [0, 16 * MIB],
    [16 * MIB, 20 * MIB],
  ]);
  // Its descriptor is not closed while the system uses it.
  let closed = false;
  const closing = device[Symbol.asyncDispose]().then(() => {
    closed = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(false);
  parts[1]!.done();
  await closing;
});
