import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memoryDevice } from "../../src/core/memory-device.ts";
import type { Checker, CheckMode, Judgement } from "../../src/tools/checker.ts";
import { allCheckers, checkerFor } from "../../src/tools/checkers.ts";
import { runCaged } from "../helpers/caged.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
let folder: ReturnType<typeof temporaryFolder>;

beforeAll(() => {
  folder = temporaryFolder();
});

afterAll(() => folder.remove());

async function check(type: string, bytes: Uint8Array, mode: CheckMode): Promise<Judgement & { output: string }> {
  const checker = checkerFor(type)!;
  const ran = await runCaged(memoryDevice(bytes), checker.argv(checker.find()!, mode, "{}", null));
  return { ...checker.interpret({ ...ran, mode, commit: false, changedBytes: 0 }), output: ran.output };
}

/** A new file system as bytes; `name` only keeps files apart. */
function made(name: string, size: number, program: string, ...options: string[]): Buffer {
  const path = join(folder.path, name);
  sparseFile(path, size);
  run(program, ...options, path);
  return readFileSync(path);
}

describe("every checker", () => {
  it("is found, says its version and is listed under its file systems", () => {
    expect(allCheckers().map((c) => c.name)).toEqual(["e2fsck", "xfs_repair", "btrfs check", "fsck.fat"]);
    for (const checker of allCheckers()) {
      expect(checker.version(checker.find()!)).toMatch(/^\S+ \d+\.\d+/);
    }
    expect(checkerFor("ext3")).toBe(checkerFor("ext4"));
    expect(checkerFor("ntfs")).toBeNull();
    expect(checkerFor("toString")).toBeNull();
  });

  it("refuses by name to repair what it must not", () => {
    const refuse = (checker: Checker, mode: CheckMode) => () => checker.argv("/x", mode, "/disk", null);
    expect(refuse(checkerFor("btrfs")!, "preen")).toThrow(/repairing Btrfs is not offered/);
  });

  it.each(["ext4", "xfs", "btrfs", "vfat"])(
    "takes bytes that are no %s for not-checked, never for clean",
    async (type) => {
      for (const fill of [0, 0xff]) {
        const result = await check(type, new Uint8Array(2 * MIB).fill(fill), "look");
        expect(result.verdict).toBe("not-checked");
        expect(result.reason).toBeTruthy();
      }
    },
  );
});

describe("xfs_repair -n", () => {
  it("finds a new file system clean and a damaged one not", async () => {
    const bytes = made("xfs", 300 * MIB, "mkfs.xfs", "-q");
    expect(await check("xfs", bytes, "look")).toMatchObject({ verdict: "clean", reason: null });
    // Blocks 1 and 2 hold the roots of the free space trees (XFS Algorithms & Data Structures, "AG Free Space Management").
    bytes.fill(0xa5, 4096, 3 * 4096);
    const damaged = await check("xfs", bytes, "look");
    expect(damaged.verdict).toBe("errors-left");
    expect(damaged.reason).toBe("xfs_repair changed nothing");
  });
});

describe("btrfs check", () => {
  it("finds a new file system clean and a damaged one not", async () => {
    const bytes = made("btrfs", 110 * MIB, "mkfs.btrfs", "-q", "-M", "-m", "single", "-d", "single");
    expect(await check("btrfs", bytes, "look")).toMatchObject({ verdict: "clean", reason: null });
    const tree = run("btrfs", "inspect-internal", "dump-tree", "-t", "fs", join(folder.path, "btrfs"));
    const logical = Number(/^leaf (\d+) /m.exec(tree)![1]);
    // A single chunk on one device made with -M lies where its logical address says; the node's header is 101 bytes.
    bytes.fill(0x5a, logical + 101, logical + 400);
    expect((await check("btrfs", bytes, "look")).verdict).toMatch(/^(errors-left|not-checked)$/);
  });
});

describe("fsck.fat", () => {
  it("finds a new file system clean, mends a damaged one, and confirms it", async () => {
    const bytes = made("fat", 16 * MIB, "mkfs.fat", "-F", "16");
    expect(await check("vfat", bytes, "fix")).toMatchObject({ verdict: "clean", reason: null });
    const reserved = bytes.readUInt16LE(14);
    // A chain in the first FAT that no file owns (FAT specification, "FAT data structure").
    bytes.writeUInt16LE(0xffff, reserved * 512 + 2 * 700);
    expect(await check("vfat", bytes, "look")).toMatchObject({ verdict: "errors-left" });
    expect(await check("vfat", bytes, "fix")).toMatchObject({ verdict: "would-repair" });
    expect(checkerFor("vfat")!.confirmWith).toBe("look");
    expect(await check("vfat", bytes, "look")).toMatchObject({ verdict: "clean" });
    writeFileSync(join(folder.path, "mended"), bytes);
    expect(run("fsck.fat", "-n", join(folder.path, "mended"))).toContain("files");
  });
});
