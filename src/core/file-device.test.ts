import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openFileDevice } from "./file-device.ts";

describe("what is no disk", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "unterbau-file-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("a pipe is refused without waiting for its other end", () => {
    const pipe = join(folder, "pipe");
    expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
    expect(() => openFileDevice(pipe)).toThrow(/neither a regular file nor a block device/);
  });

  it("character devices and folders are refused", () => {
    expect(() => openFileDevice("/dev/zero")).toThrow(/neither a regular file nor a block device/);
    expect(() => openFileDevice(folder)).toThrow(/is a directory/);
  });

  it("a path that is not there is said as such", () => {
    expect(() => openFileDevice(join(folder, "none"))).toThrow(/cannot open .*ENOENT/);
  });
});
