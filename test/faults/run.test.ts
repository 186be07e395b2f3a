import { execFileSync, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UndoLogReader } from "../../src/core/undo-log/reader.ts";
import { UndoLogWriter } from "../../src/core/undo-log/writer.ts";
import { openRun } from "../../src/host/run.ts";
import { createRun, findRun, listRuns, updateRun } from "../../src/host/run-store.ts";
import { holdRun } from "../../src/host/run-upkeep.ts";
import { acceptRun, prunableRuns, pruneRuns } from "../../src/usecases/keep-runs.ts";
import { recoverSource } from "../../src/usecases/recover.ts";
import { undoRun } from "../../src/usecases/undo.ts";

let directory: string;
let state: string;
let disk: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-run-"));
  state = join(directory, "state");
  disk = join(directory, "disk.raw");
  writeFileSync(disk, randomBytes(200_000));
});
afterEach(() => rmSync(directory, { recursive: true }));

const sha = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
const states = () => ({ stateDirs: [state] });

async function change(offset: number, length = 5000): Promise<string> {
  await using run = await openRun({ verb: "test", stateDir: state, sources: [{ path: disk }] });
  await run.device(0).write(randomBytes(length), offset);
  await run.commit();
  await run.finish();
  return run.id;
}

function overwrite(offset: number, length: number): void {
  const fd = openSync(disk, "r+");
  writeSync(fd, randomBytes(length), 0, length, offset);
  closeSync(fd);
}

/** What a process leaves that died in the middle of applying: half of a page-aligned change, a sealed log, a run without an end. */
async function crash(offset: number): Promise<string> {
  const id = await change(offset, 16 * 4096);
  const stored = findRun([state], id);
  const log = UndoLogReader.open(join(stored.folder, "undo-0.log"));
  const [batch] = log.batches;
  const fd = openSync(disk, "r+");
  for (const range of batch!.ranges) {
    const half = Math.floor(range.length / 2 / 4096) * 4096;
    writeSync(fd, log.old(range)!.subarray(0, half), 0, half, range.offset);
  }
  closeSync(fd);
  const path = join(stored.folder, "undo-0.log");
  const bytes = readFileSync(path);
  // The last record is APPLIED, in the room that SEALED reserved.
  bytes.fill(0, log.end - 128, log.end);
  log.close();
  writeFileSync(path, bytes);
  updateRun(stored, { status: "running", owner: { pid: 1, startTime: "0", bootId: "another boot" } });
  return id;
}

describe("a run and its undo", () => {
  it("keeps a private folder with a readable record", async () => {
    const id = await change(1000);
    const { folder, record } = findRun([state], id.slice(-4));
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(record).toMatchObject({ schema: "unterbau/run/1", run: id, status: "committed", verb: "test" });
    expect(record.sources[0]).toMatchObject({ path: disk, kind: "file", size: 200_000 });
    expect(id).toMatch(/^\d{8}-\d{6}-[a-z2-9]{4}$/);
  });

  it("restores bytes, size and modification time, one run after the other", async () => {
    utimesSync(disk, 1_600_000_000, 1_600_000_000.123);
    const before = { sha: sha(disk), mtime: statSync(disk, { bigint: true }).mtimeNs };
    const first = await change(1000);
    const between = { sha: sha(disk), mtime: statSync(disk, { bigint: true }).mtimeNs };
    const second = await change(3000);
    await expect(undoRun(first, states())).rejects.toMatchObject({ code: "usage" });
    await undoRun(second, states());
    expect({ sha: sha(disk), mtime: statSync(disk, { bigint: true }).mtimeNs }).toEqual(between);
    await undoRun(first, states());
    expect({ sha: sha(disk), mtime: statSync(disk, { bigint: true }).mtimeNs }).toEqual(before);
    await expect(undoRun(first, states())).rejects.toMatchObject({ code: "usage" });
    expect(listRuns([state]).runs.map((r) => r.record.status)).toEqual(["undone", "undone"]);
  });

  it("refuses when somebody wrote since, wherever, and obeys --force", async () => {
    const original = readFileSync(disk);
    const id = await change(1000);
    overwrite(100_000, 10);
    const changed = sha(disk);
    await expect(undoRun(id, states())).rejects.toMatchObject({
      code: "usage",
      hint: expect.stringContaining("--force"),
    });
    expect(sha(disk)).toBe(changed);
    await undoRun(id, { ...states(), force: true });
    expect(readFileSync(disk).subarray(0, 100_000).equals(original.subarray(0, 100_000))).toBe(true);
  });

  it("refuses when a range that it wrote has another content, even under the same time", async () => {
    const id = await change(8192, 8192);
    const { atime, mtime } = statSync(disk);
    const { mtimeNs } = statSync(disk, { bigint: true });
    overwrite(9000, 1);
    utimesSync(disk, atime, mtime);
    const stored = findRun([state], id);
    const log = UndoLogReader.open(join(stored.folder, "undo-0.log"));
    // utimes() cannot set nanoseconds: the log is told the time that it could set.
    const writer = UndoLogWriter.append(join(stored.folder, "undo-0.log"), log.header!.tag, log.end - 128);
    writer.end("applied", 1, { size: 200_000, mtimeNs: statSync(disk, { bigint: true }).mtimeNs });
    writer.close();
    log.close();
    expect(mtimeNs).toBeGreaterThan(0n);
    await expect(undoRun(id, states())).rejects.toMatchObject({ code: "usage", offset: 8192 });
  });

  it("is not visible in the source, nor in the list as changed, without a commit", async () => {
    const before = sha(disk);
    await using run = await openRun({ verb: "test", stateDir: state, sources: [{ path: disk }] });
    await run.device(0).write(randomBytes(100), 0);
    await run.device(0).flush();
    await run.finish();
    expect(sha(disk)).toBe(before);
    expect(listRuns([state]).runs).toEqual([]);
    expect(readdirSync(join(state, "runs"))).toEqual([]);
  });

  it("excludes a second run and QEMU while it lasts", async () => {
    await using run = await openRun({ verb: "test", stateDir: state, sources: [{ path: disk }] });
    await expect(change(0)).rejects.toMatchObject({ code: "locked" });
    const qemu = () => spawnSync("qemu-io", ["-f", "raw", "-c", "read 0 512", disk], { encoding: "utf8" });
    expect(qemu().stderr).toContain('Failed to get "write" lock');
    await run.finish();
    expect(qemu().status).toBe(0);
  });

  it("does not let the same source in twice", async () => {
    execFileSync("ln", ["-s", disk, join(directory, "link")]);
    await expect(
      openRun({ verb: "test", stateDir: state, sources: [{ path: disk }, { path: join(directory, "link") }] }),
    ).rejects.toMatchObject({ code: "usage" });
  });
});

describe("recovery", () => {
  it("takes a half-applied change back, also under another name of the file", async () => {
    const before = sha(disk);
    const id = await crash(4096);
    expect(sha(disk)).not.toBe(before);
    const link = join(directory, "hard-link");
    execFileSync("ln", [disk, link]);
    const report = await recoverSource([link], states());
    expect(report).toMatchObject({ unresolved: false, runs: [{ run: id, outcome: "rolled-back" }] });
    expect(sha(disk)).toBe(before);
    expect(findRun([state], id).record.status).toBe("rolled-back");
    expect(await recoverSource([disk], states())).toBeNull();
  });

  it("refuses where a guest has written since, blocks further runs, and ends by force or by acceptance", async () => {
    for (const way of ["force", "accept"] as const) {
      const before = readFileSync(disk);
      const id = await crash(4096);
      overwrite(4096 * 12, 4096);
      const now = sha(disk);
      const report = await recoverSource([disk], states());
      expect(report).toMatchObject({
        unresolved: true,
        runs: [{ outcome: "refused", reason: expect.stringContaining("changed") }],
      });
      expect(sha(disk)).toBe(now);
      await expect(change(0)).rejects.toMatchObject({ code: "locked", message: expect.stringContaining(id) });
      if (way === "force") {
        await undoRun(id, { ...states(), force: true });
        expect(readFileSync(disk).equals(before)).toBe(true);
      } else {
        acceptRun(id, states());
        expect(sha(disk)).toBe(now);
      }
      await change(0);
    }
  });

  it("does not touch a source whose undo log is damaged", async () => {
    const id = await crash(4096);
    const path = join(findRun([state], id).folder, "undo-0.log");
    const bytes = readFileSync(path);
    bytes[2000]! ^= 1;
    writeFileSync(path, bytes);
    const now = sha(disk);
    const report = await recoverSource([disk], states());
    expect(report?.runs[0]).toMatchObject({ outcome: "refused", reason: expect.stringContaining("damaged") });
    expect(sha(disk)).toBe(now);
  });

  it("leaves the run of a living process alone, and waits for a source that is in use", async () => {
    await using run = await openRun({ verb: "test", stateDir: state, sources: [{ path: disk }] });
    expect(await recoverSource([disk], states())).toBeNull();
    await run.finish();
    const id = await crash(4096);
    const fd = openSync(disk, "r+");
    const { lockSource } = await import("../../src/host/locks.ts");
    lockSource(fd, disk, "write");
    expect((await recoverSource([disk], states()))?.runs[0]).toMatchObject({ run: id, outcome: "blocked" });
    closeSync(fd);
    expect((await recoverSource([disk], states()))?.runs[0]).toMatchObject({ run: id, outcome: "rolled-back" });
  });

  it("lists the runs of one second in the order of their starts", () => {
    const at = (ms: number) => createRun(state, { verb: "test", sources: [] }, new Date(Date.UTC(2026, 0, 1) + ms));
    const made = Array.from({ length: 20 }, (_, i) => at(i * 7).record.run);
    expect(listRuns([state]).runs.map((r) => r.record.run)).toEqual(made);
  });

  it("reports a run that cannot be read", async () => {
    const id = await change(0);
    writeFileSync(join(findRun([state], id).folder, "run.json"), "{");
    const report = await recoverSource([disk], states());
    expect(report?.findings[0]).toMatchObject({ code: "run-unreadable", severity: "warning" });
  });
});

describe("runs that are kept or removed", () => {
  const days = (n: number) => new Date(Date.now() + n * 24 * 60 * 60 * 1000);

  it("accepts a repair: its log is deleted, and it cannot be undone any more", async () => {
    const id = await change(0);
    const after = sha(disk);
    const log = join(findRun([state], id).folder, "undo-0.log");
    const blocks = statSync(log).blocks * 512;
    expect(blocks).toBeGreaterThan(5000);
    expect(acceptRun(id, states())).toMatchObject({ run: id, status: "accepted", freedBytes: blocks });
    expect(existsSync(log)).toBe(false);
    expect(findRun([state], id).record.status).toBe("accepted");
    await expect(undoRun(id, states())).rejects.toThrow(/was accepted/);
    await expect(undoRun(id, { ...states(), force: true })).rejects.toThrow(/was accepted/);
    expect(() => acceptRun(id, states())).toThrow(/there is nothing to accept/);
    expect(sha(disk)).toBe(after);
  });

  it("does not accept a run that is going on, or that another command works on", async () => {
    await using run = await openRun({ verb: "test", stateDir: state, sources: [{ path: disk }] });
    expect(() => acceptRun(run.id, states())).toThrow(/still going on/);
    await run.finish();
    const id = await change(0);
    {
      using _held = holdRun(findRun([state], id));
      expect(() => acceptRun(id, states())).toThrow(/another command works on/);
      await expect(undoRun(id, states())).rejects.toMatchObject({ code: "locked" });
      expect(pruneRuns(0, states(), days(1)).removed).toEqual([]);
    }
    await undoRun(id, states());
  });

  it("removes runs that ended long enough ago, and none that goes on", async () => {
    const [first, second] = [await change(0), await change(10_000)];
    await undoRun(second, states());
    const state1 = findRun([state], first);
    expect(prunableRuns(90, states(), days(89))).toEqual([]);
    expect(prunableRuns(90, states(), days(91)).map((r) => r.run)).toEqual([first, second]);
    await using going = await openRun({ verb: "test", stateDir: state, sources: [{ path: disk }] });
    const result = pruneRuns(90, states(), days(91));
    expect([...result.removed].sort()).toEqual([first, second].sort());
    expect(result.freedBytes).toBeGreaterThan(5000);
    expect(existsSync(state1.folder)).toBe(false);
    expect(readdirSync(join(state, "runs"))).toEqual([going.id]);
  });
});
