import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  blockDeviceInUse,
  blockDeviceSectorSize,
  blockDeviceSize,
  stableDeviceId,
} from "../../src/host/block-device.ts";
import { fileUnderLoop, loopDevicesOn } from "../../src/host/loop-device.ts";
import { openSource } from "../../src/host/open-source.ts";
import { openRun } from "../../src/host/run.ts";
import { sourceIdentity } from "../../src/host/source-identity.ts";
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

describe("the file under a loop device", () => {
  const open = async (path: string, mode: "read" | "write") => {
    const { file } = await openSource(sourceIdentity(path), mode);
    await file[Symbol.asyncDispose]();
  };

  it("makes it refused while the host has the file mounted through another one", async () => {
    run("mkfs.ext4", "-q", loop);
    const mount = join(directory, "mounted");
    run("mkdir", mount);
    expect(fileUnderLoop(loop)).toBe(disk);
    const other = run("losetup", "--find", "--show", disk);
    run("mount", other, mount);
    try {
      const refusal = { code: "locked", message: expect.stringContaining(`mounted on ${mount}`) };
      for (const mode of ["read", "write"] as const) await expect(open(loop, mode)).rejects.toMatchObject(refusal);
      await expect(open(disk, "read")).rejects.toMatchObject(refusal);
    } finally {
      run("umount", mount);
      run("losetup", "--detach", other);
    }
    // Read-only from end to end: nothing changes under a reader.
    const still = run("losetup", "--read-only", "--find", "--show", disk);
    run("mount", "-o", "ro,noload", still, mount);
    try {
      await open(loop, "read");
      await open(disk, "read");
    } finally {
      run("umount", mount);
      run("losetup", "--detach", still);
    }
    await open(loop, "write");
  });

  it("makes it refused while QEMU has the file, and keeps QEMU out while it is open", async () => {
    const qemu = spawn("qemu-io", ["-f", "raw", disk], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise((resolve) => qemu.once("close", resolve));
    try {
      qemu.stdin.write("length\n");
      await new Promise((resolve) => qemu.stdout.once("data", resolve));
      for (const mode of ["read", "write"] as const) {
        await expect(open(loop, mode)).rejects.toMatchObject({
          code: "locked",
          message: expect.stringContaining(`qemu-io (pid ${qemu.pid}`),
        });
      }
    } finally {
      qemu.stdin.end();
      await ended;
    }
    const { file } = await openSource(sourceIdentity(loop), "write");
    const write = () => run("qemu-io", "-f", "raw", "-c", "write 0 512", disk);
    expect(write).toThrow();
    await file[Symbol.asyncDispose]();
    write();
  });
});
