import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deviceConformance } from "../../test/conformance/suite.ts";
import { readBytes } from "./device.ts";
import { type FileDevice, openFileDevice } from "./file-device.ts";
import { commitTogether, openTransaction, type Transaction } from "./transaction.ts";
import { UndoLogReader } from "./undo-log/reader.ts";
import { foreignRanges, restoreBatch, undoImage, writePages } from "./undo-log/restore.ts";

let directory: string;
let path: string;
let logPath: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-transaction-"));
  path = join(directory, "disk");
  logPath = join(directory, "undo-0.log");
});
afterEach(() => rmSync(directory, { recursive: true }));

const hash = (p: string) => createHash("sha256").update(readFileSync(p)).digest("hex");
const open = (file: FileDevice, undoLog = logPath): Transaction =>
  openTransaction(file, { undoLog, run: "test", index: 0 });

async function undo(): Promise<void> {
  const log = UndoLogReader.open(logPath);
  const file = openFileDevice(path, { writable: true });
  const done = log.batches.filter((b) => b.state === "applied");
  const { overlay, foreign } = await undoImage(file, log, done, "fresh");
  expect(foreign).toEqual([]);
  await writePages(overlay, file);
  await overlay[Symbol.asyncDispose]();
  await file[Symbol.asyncDispose]();
  log.close();
}

deviceConformance("transaction", async () => {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-transaction-"));
  const content = randomBytes(70_000);
  const disk = join(folder, "disk");
  writeFileSync(disk, content);
  const file = openFileDevice(disk, { writable: true });
  return {
    device: open(file, join(folder, "undo")),
    content,
    cleanup: async () => {
      await file[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
});

describe("Transaction", () => {
  it("changes the file in commit() only, and undo restores it byte for byte", async () => {
    writeFileSync(path, randomBytes(300_000));
    const before = hash(path);
    {
      await using file = openFileDevice(path, { writable: true });
      await using t = open(file);
      await t.write(randomBytes(10_000), 12_345);
      await t.flush();
      expect(hash(path)).toBe(before);
      expect(existsSync(logPath)).toBe(false);
      const { changedBytes } = await t.commit(1);
      expect(changedBytes).toBeGreaterThanOrEqual(10_000);
      expect(changedBytes).toBeLessThan(10_000 + 1024);
      expect(Buffer.from(await readBytes(t, 0, t.size)).equals(readFileSync(path))).toBe(true);
      expect(hash(path)).not.toBe(before);
      expect(statSync(logPath).mode & 0o777).toBe(0o600);
      expect((await t.commit(2)).changedBytes).toBe(0);
    }
    await undo();
    expect(hash(path)).toBe(before);
  });

  it("undoes several batches that overlap, growth and shrinking included", async () => {
    writeFileSync(path, randomBytes(100_000));
    const before = hash(path);
    {
      await using file = openFileDevice(path, { writable: true });
      await using t = open(file);
      for (let batch = 1; batch <= 6; batch++) {
        await t.resize!([150_000, 120_001, 300_000, 40_000, 90_000, 200_000][batch - 1]!);
        await t.write(randomBytes(5000), batch * 3000);
        await t.write(randomBytes(100), t.size - 100);
        await t.commit(batch);
        expect(statSync(path).size).toBe(t.size);
        expect(Buffer.from(await readBytes(t, 0, t.size)).equals(readFileSync(path))).toBe(true);
      }
    }
    await undo();
    expect(hash(path)).toBe(before);
  });

  it("finds what somebody else changed since, and only that", async () => {
    writeFileSync(path, randomBytes(100_000));
    await using file = openFileDevice(path, { writable: true });
    await using t = open(file);
    await t.write(randomBytes(20_000), 4096);
    await t.commit(1);
    const log = UndoLogReader.open(logPath);
    const [batch] = log.batches;
    expect(await foreignRanges(file, log, batch!)).toEqual([]);
    await file.write(randomBytes(512), 8192);
    expect(await foreignRanges(file, log, batch!)).toEqual([{ offset: 8192, length: 4096 }]);
    const { overlay, foreign } = await undoImage(file, log, log.batches, "fresh");
    expect(foreign.length).toBe(1);
    await overlay[Symbol.asyncDispose]();
    log.close();
  });

  it("leaves holes as holes when a rollback has nothing to write there", async () => {
    writeFileSync(path, "");
    await using file = openFileDevice(path, { writable: true });
    await file.resize!(8 * 1024 * 1024);
    await using t = open(file);
    await t.write(Buffer.alloc(4096, 1), 4096);
    await t.commit(1);
    const log = UndoLogReader.open(logPath);
    await restoreBatch(file, log, log.batches[0]!);
    log.close();
    expect(statSync(path).blocks * 512).toBeLessThanOrEqual(8192);
    expect(readFileSync(path).every((b) => b === 0)).toBe(true);
  });

  it("rolls every source back when the last cannot be written", async () => {
    const paths = [join(directory, "a"), join(directory, "b")];
    for (const p of paths) writeFileSync(p, randomBytes(50_000));
    const before = paths.map(hash);
    await using a = openFileDevice(paths[0]!, { writable: true });
    await using b = openFileDevice(paths[1]!, { writable: true });
    let broken = true;
    const breaking: FileDevice = {
      ...b,
      size: b.size,
      caps: b.caps,
      fd: b.fd,
      stat: b.stat,
      read: (into, offset) => b.read(into, offset),
      write: async (from, offset) => {
        await b.write(from.subarray(0, 100), offset);
        if (broken) {
          broken = false;
          throw new Error("EIO");
        }
        await b.write(from, offset);
      },
      zero: (offset, length) => b.zero(offset, length),
      discard: async () => undefined,
      extents: (offset, length) => b.extents(offset, length),
      flush: () => b.flush(),
      [Symbol.asyncDispose]: async () => undefined,
    };
    await using ta = open(a, join(directory, "undo-a"));
    await using tb = open(breaking, join(directory, "undo-b"));
    const data = randomBytes(9000);
    await ta.write(data, 1000);
    await tb.write(data, 2000);
    await expect(commitTogether([ta, tb], 1)).rejects.toThrow("EIO");
    expect(paths.map(hash)).toEqual(before);
    for (const p of ["undo-a", "undo-b"]) {
      const log = UndoLogReader.open(join(directory, p));
      expect(log.batches.map((x) => x.state)).toEqual(["rolled-back"]);
      log.close();
    }
    await commitTogether([ta, tb], 2);
    expect(readFileSync(paths[0]!).subarray(1000, 10_000).equals(data)).toBe(true);
    expect(readFileSync(paths[1]!).subarray(2000, 11_000).equals(data)).toBe(true);
  });

  it("lets writes wait while a commit runs, and keeps them for the next", async () => {
    writeFileSync(path, new Uint8Array(1024 * 1024));
    await using file = openFileDevice(path, { writable: true });
    await using t = open(file);
    await t.write(randomBytes(900_000), 0);
    const committing = t.commit(1);
    const writing = t.write(Buffer.from("late"), 500);
    await Promise.all([committing, writing]);
    expect(readFileSync(path).subarray(500, 504).toString()).not.toBe("late");
    expect(Buffer.from(await readBytes(t, 500, 4)).toString()).toBe("late");
    await t.commit(2);
    expect(readFileSync(path).subarray(500, 504).toString()).toBe("late");
  });
});
