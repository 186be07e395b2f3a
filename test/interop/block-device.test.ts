import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  blockDeviceInUse,
  blockDeviceSectorSize,
  blockDeviceSize,
  loopDevicesOn,
  stableDeviceId,
} from "../../src/host/block-device.ts";
import { openRun } from "../../src/host/run.ts";
import { undoRun } from "../../src/usecases/undo.ts";

const run = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: "utf8" }).trim();

let directory: string;
let disk: string;
let loop: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-block-"));
  disk = join(directory, "disk");
  writeFileSync(disk, randomBytes(3 * 1024 * 1024 + 512));
  loop = run("losetup", "--find", "--show", disk);
});
afterEach(() => {
  run("losetup", "--detach", loop);
  rmSync(directory, { recursive: true });
});

describe("block devices", () => {
  it("have the size and sector size that blockdev tells, and their file is not changed under them", async () => {
    expect(blockDeviceSize(loop)).toBe(Number(run("blockdev", "--getsize64", loop)));
    expect(blockDeviceSectorSize(loop)).toBe(Number(run("blockdev", "--getss", loop)));
    expect(stableDeviceId(loop)).toBe(`loop:${disk}`);
    expect(loopDevicesOn(disk)).toEqual([loop]);
    await expect(openRun({ verb: "test", stateDir: directory, sources: [{ path: disk }] })).rejects.toMatchObject({
      code: "locked",
      message: expect.stringContaining(loop),
    });
    expect(blockDeviceInUse(loop)).toBeNull();
  });

  it("are changed and restored as files are", async () => {
    const sha = () => createHash("sha256").update(readFileSync(loop)).digest("hex");
    const before = sha();
    const stateDir = join(directory, "state");
    let id: string;
    {
      await using r = await openRun({ verb: "test", stateDir, sources: [{ path: loop }] });
      id = r.id;
      await r.device(0).write(randomBytes(10_000), 5000);
      await expect(openRun({ verb: "test", stateDir, sources: [{ path: loop }] })).rejects.toMatchObject({
        code: expect.stringMatching(/locked|io/),
      });
      await r.commit();
    }
    run("blockdev", "--flushbufs", loop);
    expect(sha()).not.toBe(before);
    await undoRun(id, { stateDirs: [stateDir] });
    run("blockdev", "--flushbufs", loop);
    expect(sha()).toBe(before);
  });

  it("are refused while the host uses them", async () => {
    run("mkswap", loop);
    expect(blockDeviceInUse(loop)).toBeNull();
    let used = false;
    try {
      run("swapon", loop);
      used = true;
      expect(blockDeviceInUse(loop)).toContain("swap");
      await expect(openRun({ verb: "test", stateDir: directory, sources: [{ path: loop }] })).rejects.toMatchObject({
        code: "locked",
      });
    } finally {
      if (used) run("swapoff", loop);
    }
    run("mkfs.ext4", "-q", loop);
    const mount = join(directory, "mnt with space");
    run("mkdir", mount);
    run("mount", loop, mount);
    try {
      expect(blockDeviceInUse(loop)).toContain(`mounted on ${mount}`);
    } finally {
      run("umount", mount);
    }
    expect(blockDeviceInUse(loop)).toBeNull();
  });
});
