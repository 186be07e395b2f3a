import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { crc32 } from "../../src/bytes/crc.ts";
import {
  DataRecord,
  HEADER_SIZE,
  RECORD_SIZE,
  RECORD_TYPE,
  RecordPrefix,
  sealChecksum,
} from "../../src/core/undo-log/format.ts";
import { UndoLogReader } from "../../src/core/undo-log/reader.ts";
import { foreignRanges, restoreBatch, undoImage, verifyBatch } from "../../src/core/undo-log/restore.ts";
import { UndoLogWriter } from "../../src/core/undo-log/writer.ts";
import { Sparse } from "../engine/sparse.ts";
import type { Target } from "../engine/target.ts";
import { watchedDevice } from "../engine/watched.ts";
import { tolerant } from "./exercise.ts";

const MOST = 1024 * 1024;
const SOURCE = 1024 * 1024;

/** Checksums of the header and of all records that can be walked to, with those of their payload. */
function fix(parts: Sparse[]): void {
  const log = parts[0]!;
  const bytes = log.read(0, Math.min(log.size, MOST));
  if (bytes.length < HEADER_SIZE) return;
  sealChecksum(bytes.subarray(0, HEADER_SIZE));
  for (let at = HEADER_SIZE; at + RECORD_SIZE <= bytes.length; ) {
    const record = bytes.subarray(at, at + RECORD_SIZE);
    record.set(bytes.subarray(16, 24));
    let next = at + RECORD_SIZE;
    if (RecordPrefix.decode(record).type === RECORD_TYPE.data) {
      const { stored, offset, length } = DataRecord.decode(record);
      const pieces = Math.ceil((Number(offset % 4096n) + length) / 4096);
      const table = bytes.subarray(next + stored, next + stored + 4 * pieces);
      DataRecord.encode({ tableCrc: crc32(table), oldHash: sha256(bytes.subarray(next, next + stored)) }, record);
      next += stored + 4 * pieces;
    }
    sealChecksum(record);
    at = next;
  }
  log.write(0, bytes);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

const path = join(tmpdir(), `unterbau-fuzz-${process.pid}-${threadId}`);

/** Two applied batches, and what a third had appended when its process died. */
function seed(): Sparse {
  const fill = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
  rmSync(path, { force: true });
  const writer = UndoLogWriter.create(path, {
    sourceKind: 1,
    sourceIndex: 0,
    dev: 1n,
    ino: 2n,
    size: 10_000n,
    run: "fuzz",
  });
  for (const batch of [1, 2]) {
    writer.begin(batch, { size: 10_000, mtimeNs: 5n }, 9000);
    writer.record(100, fill(1000, 1), fill(1000, 2));
    writer.record(4096, fill(512, 0), fill(512, 3));
    writer.record(9000, fill(700, 4), null);
    writer.sync();
    writer.seal();
    writer.end("applied", batch, { size: 9000, mtimeNs: 6n });
  }
  writer.begin(3, { size: 9000, mtimeNs: 6n }, 9000);
  writer.record(0, fill(3000, 5), fill(3000, 6));
  writer.sync();
  writer.close();
  const bytes = readFileSync(path);
  rmSync(path);
  return Sparse.of(bytes);
}

/** The log's reader, and what undo and recovery do with it on a source. */
export const undoLogTarget: Target = {
  name: "undo-log",
  seeds: () => [[seed()]],
  fix,
  async run(input, meter) {
    const part = input[0]!;
    const length = Math.min(part.size, MOST);
    writeFileSync(path, part.read(0, length));
    meter.count(0, 0, length);
    let log: UndoLogReader;
    try {
      log = UndoLogReader.open(path);
    } finally {
      rmSync(path);
    }
    try {
      const device = watchedDevice(new Sparse(SOURCE), meter, 1, true);
      for (const batch of log.batches) {
        await tolerant(async () => verifyBatch(log, batch));
        await tolerant(() => foreignRanges(device, log, batch));
      }
      for (const mode of ["fresh", "resumed", "force"] as const) {
        await tolerant(async () => {
          const { overlay } = await undoImage(device, log, log.batches, mode);
          await overlay[Symbol.asyncDispose]();
        });
      }
      for (const batch of log.batches) await tolerant(() => restoreBatch(device, log, batch));
    } finally {
      log.close();
    }
  },
};
