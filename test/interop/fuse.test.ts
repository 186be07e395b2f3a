import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorageError } from "../../src/core/errors.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { systemHoles } from "../../src/host/holes.ts";
import { findProgram } from "../../src/tools/find.ts";
import { altered } from "../helpers/altered.ts";
import { runCaged } from "../helpers/caged.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

/** The file as the kernel and other programs see it: each test lets a program work on it that knows nothing of us. */

const MIB = 1024 * 1024;
const qemuIo = findProgram("qemu-io")!;
const qemuImg = findProgram("qemu-img")!;
let folder: ReturnType<typeof temporaryFolder>;

beforeAll(() => {
  folder = temporaryFolder();
});

afterAll(() => folder.remove());

/** Numbers from 0 up to `below`, the same in every run. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe("a device as a file", () => {
  it("takes qemu-io's random writes, zeroes and reads as a plain file does", async () => {
    const next = sequence(7);
    const commands: string[] = [];
    for (let i = 0; i < 150; i++) {
      const length = 1 + next(i % 10 === 0 ? 2 * MIB : 20_000);
      const offset = next(4 * MIB - length);
      const kind = next(10);
      if (kind < 6) commands.push(`write -P ${1 + next(255)} ${offset} ${length}`);
      else if (kind < 8) commands.push(`write -z ${offset} ${length}`);
      else if (kind < 9) commands.push("flush");
      else commands.push(`read ${offset} ${length}`);
    }
    const argv = commands.flatMap((c) => ["-c", c]);
    const plain = join(folder.path, "plain.raw");
    sparseFile(plain, 4 * MIB);
    run(qemuIo, "-f", "raw", ...argv, plain);
    const device = memoryDevice(new Uint8Array(4 * MIB));
    const ran = await runCaged(device, [qemuIo, "-f", "raw", ...argv, "{}"], { cage: "host" });
    expect({ exitCode: ran.exitCode, deviceError: ran.deviceError }).toEqual({ exitCode: 0, deviceError: null });
    expect(Buffer.compare(device.bytes(), readFileSync(plain))).toBe(0);
    expect(ran.stats.flushes).toBeGreaterThan(0);
  });

  it("shows holes where the file below has them (qemu-img map)", async () => {
    const path = join(folder.path, "holes.raw");
    sparseFile(path, 16 * MIB, [
      [2 * MIB, Buffer.alloc(MIB, 1)],
      [9 * MIB, Buffer.alloc(65536, 2)],
    ]);
    await using device = openFileDevice(path, { holes: systemHoles() });
    const map = ["map", "--output=json", "-f", "raw"];
    const ran = await runCaged(device, [qemuImg, ...map, "{}"], { cage: "host", writable: false });
    expect(JSON.parse(ran.output)).toEqual(JSON.parse(run(qemuImg, ...map, path)));
  });

  it("has a size that is no multiple of anything, and reads to its last byte", async () => {
    const bytes = Uint8Array.from({ length: 3 * MIB + 777 }, (_, i) => (i * 31) % 251);
    const path = join(folder.path, "odd");
    writeFileSync(path, bytes);
    const ran = await runCaged(
      memoryDevice(bytes),
      ["/bin/sh", "-c", `stat -c %s {}; cmp {} ${path} && tail -c 5 {} | od -An -tu1`],
      {
        cage: "host",
      },
    );
    const tail = spawnSync("sh", ["-c", `tail -c 5 ${path} | od -An -tu1`], { encoding: "utf8" }).stdout;
    expect(ran.output).toBe(`${bytes.length}\n${tail}`);
  });

  it("refuses what a disk refuses: another size, a write behind the end", async () => {
    const device = memoryDevice(new Uint8Array(8192).fill(3));
    const { output } = await runCaged(
      device,
      [
        "/bin/sh",
        "-c",
        "truncate -s 4096 {}; truncate -s 1M {}; dd if=/dev/zero of={} bs=4096 seek=1 count=2 conv=notrunc status=none; touch {} && echo touched; stat -c %s {}",
      ],
      { cage: "host" },
    );
    expect(output).toMatch(/truncate: .*Operation not permitted/);
    expect(output).toMatch(/truncate: .*File too large/);
    expect(output).toMatch(/dd: .*File too large/);
    expect(output).toMatch(/touched\n8192\n$/);
    // dd's first block was inside.
    expect([device.bytes()[4095], device.bytes()[4096], device.bytes()[8191]]).toEqual([3, 0, 0]);
  });

  it("punches holes as fallocate(1) asks, and syncs when a program does", async () => {
    const device = memoryDevice(new Uint8Array(64 * 1024).fill(9));
    let flushed = 0;
    const counting = altered(device, {
      flush: async () => {
        flushed++;
      },
    });
    const { exitCode } = await runCaged(
      counting,
      ["/bin/sh", "-c", "fallocate -p -o 4096 -l 8192 {} && fallocate -z -o 32768 -l 100 {} && sync {}"],
      { cage: "host" },
    );
    expect(exitCode).toBe(0);
    const zeros = device.bytes().reduce((n, b) => n + (b === 0 ? 1 : 0), 0);
    expect(zeros).toBe(8192 + 100);
    expect(flushed).toBeGreaterThan(0);
  });

  it("gives a program EIO for a bad sector, goes on, and remembers it", async () => {
    const bytes = new Uint8Array(MIB).fill(1);
    const bad = 600_000;
    const device = altered(memoryDevice(bytes), {
      read: async (into, offset) => {
        if (offset <= bad && offset + into.length > bad) throw new StorageError("io", "bad sector", { offset: bad });
        into.fill(1);
      },
    });
    const ran = await runCaged(
      device,
      ["/bin/sh", "-c", "cat {} > /dev/null; dd if={} bs=4096 count=1 status=none | od -An -tu1 -N2"],
      { cage: "host" },
    );
    expect(ran.output).toMatch(/cat: .*Input\/output error/);
    expect(ran.output).toMatch(/ 1 +1\n$/);
    expect(ran.deviceError).toMatchObject({ code: "io", offset: bad });
  });

  it("serves two runs of one process beside each other", async () => {
    const both = [1, 2].map((fill) =>
      runCaged(memoryDevice(new Uint8Array(8 * MIB).fill(fill)), ["/bin/sh", "-c", "md5sum < {}"], { cage: "host" }),
    );
    const outputs = (await Promise.all(both)).map((r) => r.output.slice(0, 32));
    const sums = [1, 2].map((fill) => {
      const path = join(folder.path, `fill${fill}`);
      writeFileSync(path, Buffer.alloc(8 * MIB, fill));
      return run("md5sum", path).slice(0, 32);
    });
    expect(outputs).toEqual(sums);
  });
});
