import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StorageError } from "../errors.ts";
import { HEADER_SIZE, piecesOf, pieceTable, RECORD_SIZE } from "./format.ts";
import { UndoLogReader } from "./reader.ts";
import { UndoLogWriter } from "./writer.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-undo-log-"));
  path = join(directory, "undo.log");
});
afterEach(() => rmSync(directory, { recursive: true }));

const IDENTITY = { sourceKind: 1, sourceIndex: 0, dev: 1n, ino: 2n, size: 10_000n, run: "test" };
const OLD = [randomBytes(1000), new Uint8Array(512), randomBytes(700)];
const NOW = [randomBytes(1000), randomBytes(512), null];

/** Two applied batches and what a third had appended when its process died. */
function write(): Buffer {
  const writer = UndoLogWriter.create(path, IDENTITY);
  for (const batch of [1, 2]) {
    writer.begin(batch, { size: 10_000, mtimeNs: 5n }, 9000);
    writer.record(100, OLD[0]!, NOW[0]!);
    writer.record(4096, OLD[1]!, NOW[1]!);
    writer.record(9000, OLD[2]!, NOW[2]!);
    writer.sync();
    writer.seal();
    writer.end("applied", batch, { size: 9000, mtimeNs: 6n });
  }
  writer.begin(3, { size: 9000, mtimeNs: 6n }, 9000);
  writer.record(0, randomBytes(3000), randomBytes(3000));
  writer.sync();
  writer.close();
  return readFileSync(path);
}

function states(bytes: Uint8Array): string[] {
  writeFileSync(path, bytes);
  const log = UndoLogReader.open(path);
  try {
    return log.batches.map((b) => b.state);
  } finally {
    log.close();
  }
}

/** Reads everything a log offers. */
function readAll(): void {
  const log = UndoLogReader.open(path);
  try {
    for (const range of log.batches.flatMap((b) => b.ranges)) {
      log.old(range);
      log.table(range);
      log.newHash(range);
    }
  } finally {
    log.close();
  }
}

describe("the undo log", () => {
  it("gives back what was noted", () => {
    write();
    const log = UndoLogReader.open(path);
    expect(log.header).toMatchObject(IDENTITY);
    expect(log.batches.map((b) => b.state)).toEqual(["applied", "applied", "open"]);
    const [first] = log.batches;
    expect(first).toMatchObject({
      number: 1,
      oldSize: 10_000,
      newSize: 9000,
      oldMtimeNs: 5n,
      after: { size: 9000, mtimeNs: 6n },
    });
    first!.ranges.forEach((range, i) => {
      expect(Buffer.from(log.old(range)!).equals(OLD[i]!)).toBe(true);
    });
    expect([...log.table(first!.ranges[0]!)]).toEqual([...new Uint32Array(pieceTable(NOW[0]!, 100).buffer)]);
    expect(log.newHash(first!.ranges[2]!)).toBeNull();
    log.close();
  });

  it("knows at every length what was sealed, and never more", () => {
    const whole = write();
    const sealedEnds: number[] = [];
    for (let length = 0; length <= whole.length; length++) {
      const found = states(whole.subarray(0, length));
      const sealed = found.filter((s) => s !== "open").length;
      if (sealed > sealedEnds.length) sealedEnds.push(length);
      expect(sealed).toBe(sealedEnds.length);
    }
    expect(sealedEnds.length).toBe(2);
  });

  it("ignores a torn tail but not damage before something that was durable", () => {
    const whole = write();
    const log = UndoLogReader.open(path);
    const [first, second, third] = log.batches;
    log.close();
    // In the records of the last, open batch: as if they had never been.
    const torn = Buffer.from(whole);
    torn[third!.ranges[0]!.position + 30]! ^= 1;
    expect(states(torn)).toEqual(["applied", "applied", "open"]);
    for (const batch of [first!, second!]) {
      const damaged = Buffer.from(whole);
      damaged[batch.ranges[1]!.position + 30]! ^= 1;
      expect(() => states(damaged)).toThrowError(expect.objectContaining({ code: "corrupt" }));
    }
    const header = Buffer.from(whole);
    header[20]! ^= 1;
    expect(() => states(header)).toThrowError(expect.objectContaining({ code: "corrupt" }));
  });

  it("finds a damaged payload when it is read", () => {
    const whole = write();
    const log = UndoLogReader.open(path);
    const range = log.batches[0]!.ranges[0]!;
    log.close();
    whole[range.position + RECORD_SIZE + 5]! ^= 1;
    writeFileSync(path, whole);
    expect(readAll).toThrowError(expect.objectContaining({ code: "corrupt" }));
  });

  it("is not misled by guest bytes that imitate a sealed batch of another log", () => {
    const other = write();
    rmSync(path);
    const writer = UndoLogWriter.create(path, IDENTITY);
    writer.begin(1, { size: 1_000_000, mtimeNs: 0n }, 1_000_000);
    writer.record(0, other.subarray(HEADER_SIZE), randomBytes(other.length - HEADER_SIZE));
    writer.sync();
    writer.close();
    const whole = readFileSync(path);
    // Cut inside the payload, and damaged before it: the rest is searched for durable records.
    expect(states(whole.subarray(0, whole.length - 10))).toEqual(["open"]);
    whole[HEADER_SIZE + RECORD_SIZE + 30]! ^= 1;
    expect(states(whole)).toEqual(["open"]);
  });

  it("takes an abandoned batch back", () => {
    const writer = UndoLogWriter.create(path, IDENTITY);
    writer.begin(1, { size: 10, mtimeNs: 0n }, 10);
    writer.record(0, new Uint8Array([1]), new Uint8Array([2]));
    writer.sync();
    writer.abandon();
    expect(readFileSync(path).length).toBe(HEADER_SIZE);
    writer.begin(2, { size: 10, mtimeNs: 0n }, 10);
    writer.sync();
    writer.seal();
    writer.close();
    expect(states(readFileSync(path))).toEqual(["sealed"]);
  });

  it("cuts pieces at the source's pages", () => {
    expect([...piecesOf(4000, 5000)]).toEqual([
      { offset: 4000, length: 96 },
      { offset: 4096, length: 4096 },
      { offset: 8192, length: 808 },
    ]);
  });

  it("survives any damage: it reads, or says corrupt", () => {
    const whole = write();
    const damage = fc.array(
      fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255), length: fc.constantFrom(1, 4, 8, 128) }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (places, length) => {
        const bytes = Buffer.from(whole);
        for (const p of places) bytes.fill(p.value, p.at, Math.min(bytes.length, p.at + p.length));
        writeFileSync(path, bytes.subarray(0, Math.max(length, HEADER_SIZE)));
        try {
          readAll();
        } catch (error) {
          expect(error).toBeInstanceOf(StorageError);
          expect(["corrupt", "unsupported"]).toContain((error as StorageError).code);
        }
      }),
      { numRuns: 150 },
    );
  });
});
