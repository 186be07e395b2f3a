import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorageError } from "../../src/core/errors.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import type { CheckMode, Judgement } from "../../src/tools/checker.ts";
import { e2fsck, e2fsckProgress } from "../../src/tools/e2fsck.ts";
import { PROGRESS_FD, type RunOnFileOptions } from "../../src/usecases/run-on-file.ts";
import { altered } from "../helpers/altered.ts";
import { type Ran, runCaged } from "../helpers/caged.ts";
import { run, sparseFile, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
/** e2fsck writes this instead of the time, so that two runs write the same bytes. */
const PINNED = { ...process.env, E2FSCK_TIME: "2000000000", E2FSPROGS_FAKE_TIME: "2000000000", LC_ALL: "C", TZ: "UTC" };

let folder: ReturnType<typeof temporaryFolder>;
const program = e2fsck.find()!;

beforeAll(() => {
  folder = temporaryFolder();
  // Files with several blocks, a directory tree, a symbolic link: something for every pass.
  run("sh", "-c", `mkdir -p ${folder.path}/tree/a/b/c && ln -s a ${folder.path}/tree/link`);
  for (let i = 0; i < 40; i++) writeFileSync(join(folder.path, `tree/a/file${i}`), Buffer.alloc(3000 + 700 * i, i));
});

afterAll(() => folder.remove());

/** An ext file system in a file, with debugfs commands carried out on it. */
function disk(
  name: string,
  type: string,
  commands: readonly string[] = [],
  options: readonly string[] = [],
  mib = 8,
): string {
  const path = join(folder.path, name);
  sparseFile(path, mib * MIB);
  run(
    "mke2fs",
    "-q",
    "-F",
    "-t",
    type,
    "-U",
    "12345678-1234-4234-8234-123456789abc",
    "-d",
    join(folder.path, "tree"),
    ...options,
    path,
  );
  if (commands.length > 0) {
    const script = join(folder.path, `${name}.debugfs`);
    writeFileSync(script, `${commands.join("\n")}\n`);
    run("debugfs", "-w", "-f", script, path);
  }
  return path;
}

function direct(path: string, mode: CheckMode): { exitCode: number | null; output: string; bytes: Buffer } {
  const copy = `${path}.direct`;
  copyFileSync(path, copy);
  const argv = e2fsck.argv(program, mode, copy, null);
  const result = spawnSync("sh", ["-c", 'exec "$@" 2>&1', "sh", "e2fsck", ...argv.slice(1)], {
    env: PINNED,
    encoding: "utf8",
  });
  return { exitCode: result.status, output: result.stdout.replaceAll(copy, "/disk"), bytes: readFileSync(copy) };
}

async function caged(
  path: string,
  mode: CheckMode,
  options: Partial<RunOnFileOptions> = {},
): Promise<Ran & { bytes: Uint8Array; judgement: Judgement }> {
  const device = memoryDevice(readFileSync(path));
  const ran = await runCaged(device, e2fsck.argv(program, mode, "{}", null), {
    env: PINNED,
    configFiles: e2fsck.configFiles,
    writable: mode !== "look",
    ...options,
  });
  return { ...ran, bytes: device.bytes(), judgement: judge(ran, mode) };
}

function judge(ran: Ran, mode: CheckMode, commit = false): Judgement {
  return e2fsck.interpret({ ...ran, mode, commit, changedBytes: ran.stats.bytesWritten });
}

const DAMAGE: readonly (readonly [name: string, type: string, commands: readonly string[]])[] = [
  ["undamaged", "ext4", []],
  ["wrong-counts", "ext4", ["ssv free_blocks_count 17", "ssv free_inodes_count 3"]],
  ["lost-inode", "ext4", ["unlink a/file3", "unlink a/file9"]],
  ["cleared-inode", "ext4", ["clri a/file5", "clri a/b"]],
  ["shared-blocks", "ext2", ["sif a/file7 block[0] 200", "sif a/file8 block[0] 200"]],
  ["bad-modes", "ext3", ["sif a/file2 mode 0", "sif a/file4 links_count 9", "sif a/b i_blocks 77"]],
  ["freed-blocks", "ext4", ["freeb 300 80", "freei a/file30"]],
  ["bad-directory", "ext4", ["sif a mode 0100644", "ln a/file1 loop"]],
  ["needs-recovery", "ext4", ["jo", "jw -b 333 /dev/null", "jc"]],
  ["error-flag", "ext4", ["ssv state 2", "ssv mnt_count 50", "ssv wtime 2100000000"]],
];

describe("e2fsck on a device shown as a file", () => {
  it.each(DAMAGE)("%s: same exit code, messages and bytes as on the raw file", async (name, type, commands) => {
    const path = disk(name, type, commands);
    for (const mode of ["look", "preen", "fix"] as const) {
      const expected = direct(path, mode);
      const seen = await caged(path, mode);
      expect({ mode, exitCode: seen.exitCode, output: seen.output }).toEqual({
        mode,
        exitCode: expected.exitCode,
        output: expected.output,
      });
      expect(Buffer.compare(expected.bytes, seen.bytes)).toBe(0);
      expect(seen.deviceError).toBeNull();
      if (mode === "look") expect(Buffer.compare(readFileSync(path), seen.bytes)).toBe(0);
    }
  });

  it("uses a backup superblock when the first one is gone, as on the raw file", async () => {
    const path = disk("no-superblock", "ext4", [], ["-b", "1024"], 24);
    const bytes = readFileSync(path);
    bytes.fill(0, 1024, 2048);
    writeFileSync(path, bytes);
    const expected = direct(path, "fix");
    expect(expected.output).toContain("trying backup blocks");
    const seen = await caged(path, "fix");
    expect([seen.exitCode, seen.output]).toEqual([expected.exitCode, expected.output]);
    expect(Buffer.compare(expected.bytes, seen.bytes)).toBe(0);
    expect(seen.judgement).toEqual({ verdict: "would-repair", reason: null });
  });
});

describe("the verdict", () => {
  it("is clean for an undamaged file system, although its superblock was written", async () => {
    const seen = await caged(disk("v-clean", "ext4"), "fix");
    expect(seen.judgement).toEqual({ verdict: "clean", reason: null });
    expect(seen.stats.bytesWritten).toBeGreaterThan(0);
  });

  it("names a replayed journal, and is not-checked where it was not replayed", async () => {
    const path = disk("v-journal", "ext4", ["jo", "jw -b 333 /dev/null", "jc"]);
    const fixed = await caged(path, "fix");
    expect(fixed.judgement).toEqual({ verdict: "clean", reason: "journal replayed for the check" });
    expect(judge(fixed, "fix", true).reason).toBe("journal replayed by e2fsck");
    expect((await caged(path, "preen")).judgement.verdict).toBe("clean");
    expect((await caged(path, "look")).judgement.verdict).toBe("not-checked");
  });

  it("says so when e2fsck removes deleted inodes and exits with 0", async () => {
    // A file that was deleted while open: taken out of their directory, on the superblock's list of orphans.
    const path = disk("v-orphan", "ext4");
    const inode = /Inode: (\d+)/.exec(run("debugfs", "-R", "stat a/file7", path))![1]!;
    run("debugfs", "-w", "-R", `unlink a/file7`, path);
    run("debugfs", "-w", "-R", `sif <${inode}> links_count 0`, path);
    run("debugfs", "-w", "-R", `sif <${inode}> dtime 0`, path);
    run("debugfs", "-w", "-R", `ssv last_orphan ${inode}`, path);
    const seen = await caged(path, "fix");
    expect(seen.output).toContain(`Clearing orphaned inode ${inode}`);
    expect(seen.judgement.reason).toContain("inodes that were deleted while in use removed");
  });

  it("is would-repair or repaired for errors that can be mended", async () => {
    const seen = await caged(disk("v-repair", "ext4", ["clri a/file5"]), "fix");
    expect(seen.exitCode).toBe(1);
    expect(seen.judgement.verdict).toBe("would-repair");
    expect(judge(seen, "fix", true).verdict).toBe("repaired");
  });

  it("is errors-left when preening stops or nothing may be changed", async () => {
    const path = disk("v-left", "ext4", ["clri a/file5", "clri a/b"]);
    const preened = await caged(path, "preen");
    expect(preened.judgement.verdict).toBe("errors-left");
    expect((await caged(path, "look")).judgement.verdict).toBe("errors-left");
  });

  it("is not-checked with the feature's name when e2fsck is too old", async () => {
    const seen = await caged(disk("v-feature", "ext4", ["feature FEATURE_I30"]), "fix");
    expect(seen.judgement.verdict).toBe("not-checked");
    expect(seen.judgement.reason).toBe("tool too old: this e2fsck does not know FEATURE_I30");
  });

  it("is not-checked when there is no file system, or a part of it is missing", async () => {
    const empty = join(folder.path, "empty");
    sparseFile(empty, MIB);
    const nothing = await caged(empty, "fix");
    expect(nothing.judgement.verdict).toBe("not-checked");
    expect(nothing.judgement.reason).toContain("Bad magic number in super-block");
    const cut = disk("v-cut", "ext4");
    run("truncate", "-s", "5M", cut);
    expect((await caged(cut, "fix")).judgement.verdict).toBe("not-checked");
  });

  it("is not-checked when a read or write of the device fails, whatever e2fsck says", async () => {
    const path = disk("v-broken", "ext4");
    const failing = (what: "read" | "write" | "flush") => {
      const device = memoryDevice(readFileSync(path));
      const error = new StorageError("io", "the disk has a bad sector", { layer: "file", offset: 4096 });
      const fail = (offset: number, length: number): Promise<void> | null =>
        offset <= 4096 && offset + length > 1024 && device.bytes()[1024 + 0x38] === 0x53 ? Promise.reject(error) : null;
      return altered(device, {
        read: (into, offset) => (what === "read" && offset > 8192 ? Promise.reject(error) : device.read(into, offset)),
        write: (from, offset) => (what === "write" && fail(offset, from.length)) || device.write(from, offset),
        flush: () => (what === "flush" ? Promise.reject(error) : device.flush()),
      });
    };
    for (const what of ["read", "write", "flush"] as const) {
      const ran = await runCaged(failing(what), e2fsck.argv(program, "fix", "{}", null), { env: PINNED });
      expect(ran.deviceError?.message).toBe("the disk has a bad sector");
      const { verdict, reason } = judge(ran, "fix");
      expect(verdict).toBe("not-checked");
      expect(reason).toContain("the disk has a bad sector (file at 4096)");
    }
  });

  it("is not-checked after a timeout", async () => {
    const device = memoryDevice(readFileSync(disk("v-slow", "ext4")));
    const slow = altered(device, { read: () => new Promise(() => undefined) });
    const ran = await runCaged(slow, e2fsck.argv(program, "fix", "{}", null), { timeoutMs: 200 });
    expect(judge(ran, "fix")).toEqual({
      verdict: "not-checked",
      reason: "e2fsck was stopped because it ran longer than the time limit",
    });
  });
});

describe("e2fsck's progress", () => {
  it("rises from its first pass to the whole", async () => {
    const read = e2fsckProgress();
    const seen: { pass: number; fraction: number }[] = [];
    const path = disk("progress", "ext4");
    await runCaged(memoryDevice(readFileSync(path)), e2fsck.argv(program, "fix", "{}", PROGRESS_FD), {
      progress: (text) => {
        const step = read(text);
        if (step) seen.push(step);
      },
    });
    expect(seen.length).toBeGreaterThan(0);
    for (let i = 1; i < seen.length; i++) expect(seen[i]!.fraction).toBeGreaterThanOrEqual(seen[i - 1]!.fraction);
    expect(seen.at(-1)).toEqual({ pass: 5, fraction: 1 });
  });

  it("says its version", () => {
    expect(e2fsck.version(program)).toMatch(/^e2fsck 1\.\d+/);
  });
});
