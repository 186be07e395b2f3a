import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, type Stats, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { mayBeLocked } from "./lock-list.ts";

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-locks-"));
  file = join(folder, "disk.raw");
  writeFileSync(file, Buffer.alloc(1 << 20));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A file system of one block device, whose numbers the kernel's list has. */
const stat = (): Stats => Object.assign(statSync(file), { dev: 0xfd01 });

it("sees the locks that QEMU holds, as the kernel lists them", async () => {
  expect(mayBeLocked(stat())).toBe(false);
  const qemu = spawn("qemu-io", ["-f", "raw", file], { stdio: ["pipe", "pipe", "ignore"] });
  try {
    await new Promise((resolve) => qemu.stdout.once("data", resolve));
    expect(mayBeLocked(stat())).toBe(true);
  } finally {
    qemu.stdin.end("quit\n");
    await new Promise((resolve) => qemu.once("exit", resolve));
  }
  expect(mayBeLocked(stat())).toBe(false);
});

it("takes no other file's lock for it, and every line of this file for one", () => {
  const list = (line: string) => () => `1: FLOCK  ADVISORY  WRITE 12 fd:01:77 0 EOF\n${line}\n`;
  const of = (line: string) => mayBeLocked(Object.assign(stat(), { ino: 4711 }), list(line));
  expect(of("2: OFDLCK ADVISORY  READ  -1 fd:01:4711 100 101")).toBe(true);
  expect(of("2: POSIX  ADVISORY  WRITE 812 fd:01:4711 0 EOF")).toBe(true);
  expect(of("2: -> OFDLCK ADVISORY  WRITE -1 fd:01:4711 201 201")).toBe(true);
  expect(of("2: OFDLCK ADVISORY  READ  -1 fd:01:14711 100 101")).toBe(false);
  expect(of("2: OFDLCK ADVISORY  READ  -1 fd:01:47110 100 101")).toBe(false);
});

it("does not trust the list where it cannot be complete", () => {
  // btrfs, overlayfs, tmpfs, NFS: no block device of their own, or locks of other machines.
  expect(mayBeLocked(Object.assign(stat(), { dev: 0x2a }), () => "")).toBe(true);
  const unreadable = () => {
    throw new Error("EACCES");
  };
  expect(mayBeLocked(stat(), unreadable)).toBe(true);
  expect(execFileSync("stat", ["--format=%i", file], { encoding: "utf8" }).trim()).toBe(String(statSync(file).ino));
});
