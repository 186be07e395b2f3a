import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { crc32 } from "../../bytes/crc.ts";
import { exactNumber } from "../../bytes/integers.ts";
import type { Decoded } from "../../bytes/struct.ts";
import { ioError, StorageError } from "../errors.ts";
import {
  BeginRecord,
  checksumHolds,
  DataRecord,
  EndRecord,
  FLAG_BEYOND,
  FLAG_CUT,
  FLAG_ZERO,
  HEADER_SIZE,
  KNOWN_FLAGS,
  LOG_MAGIC,
  LOG_VERSION,
  LogHeader,
  MAX_RECORD,
  pieceCount,
  RECORD_SIZE,
  RECORD_TYPE,
  RecordPrefix,
  SealRecord,
} from "./format.ts";
import { type SourceState, sha256 } from "./writer.ts";

/** open: not sealed, the source was not touched by it. sealed: the source may hold any part of it. */
export type BatchState = "open" | "sealed" | "applied" | "rolled-back";

export interface LoggedRange {
  /** Bytes of the source. */
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
  /** Where the record stands in the log. */
  readonly position: number;
}

export interface Batch {
  readonly number: number;
  /** The source's size before and after, in bytes. */
  readonly oldSize: number;
  readonly newSize: number;
  /** The source's modification time before; 0n where it says nothing. */
  readonly oldMtimeNs: bigint;
  readonly ranges: LoggedRange[];
  state: BatchState;
  /** The source right after the batch was applied or rolled back. */
  after: SourceState | null;
}

/** Bytes read from the log at once. */
const WINDOW = 1024 * 1024;

/**
 * A parsed undo log. An unfinished tail (a crash while appending) is recognised and ignored; damage before a record
 * that was written after an fsync is `corrupt`. The content is not trusted: every length is bounded before it is used.
 */
export class UndoLogReader {
  readonly path: string;
  /** Null when the process died before even the header was durable. */
  readonly header: Decoded<typeof LogHeader.fields> | null;
  readonly batches: readonly Batch[];
  /** Where the next record is to be appended. */
  readonly end: number;
  readonly #fd: number;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
    const size = fstatSync(fd).size;
    this.header = this.#header(size);
    const parsed = this.header ? this.#parse(this.header.tag, size) : { batches: [], end: 0 };
    this.batches = parsed.batches;
    this.end = parsed.end;
  }

  static open(path: string): UndoLogReader {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      throw ioError(error, `cannot open the undo log ${path}`, { layer: "undo-log" });
    }
    try {
      return new UndoLogReader(path, fd);
    } catch (error) {
      closeSync(fd);
      throw ioError(error, `cannot read the undo log ${path}`, { layer: "undo-log" });
    }
  }

  /** The old bytes of a range, verified against their SHA-256; null for a range beyond the old end. */
  old(range: LoggedRange): Uint8Array | null {
    if (range.flags & FLAG_BEYOND) return null;
    const record = this.#data(range);
    const bytes = new Uint8Array(range.length);
    if (!(range.flags & FLAG_ZERO)) this.#read(bytes, range.position + RECORD_SIZE);
    if (Buffer.compare(sha256(bytes), record.oldHash) !== 0) this.#corrupt("its old bytes are damaged", range.position);
    return bytes;
  }

  /** CRC-32 of each piece of the new content (`piecesOf`); empty for a range that was cut off. */
  table(range: LoggedRange): Uint32Array {
    if (range.flags & FLAG_CUT) return new Uint32Array(0);
    const record = this.#data(range);
    const bytes = new Uint8Array(4 * pieceCount(range.offset, range.length));
    this.#read(bytes, range.position + RECORD_SIZE + record.stored);
    if (crc32(bytes) !== record.tableCrc) this.#corrupt("its checksum table is damaged", range.position);
    const view = new DataView(bytes.buffer);
    return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
  }

  /** SHA-256 of the new content, null for a range that was cut off. */
  newHash(range: LoggedRange): Uint8Array | null {
    return range.flags & FLAG_CUT ? null : this.#data(range).newHash;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #data(range: LoggedRange): Decoded<typeof DataRecord.fields> {
    const bytes = new Uint8Array(RECORD_SIZE);
    this.#read(bytes, range.position);
    if (!checksumHolds(bytes)) this.#corrupt("a record changed while it was read", range.position);
    return DataRecord.decode(bytes);
  }

  #header(size: number): Decoded<typeof LogHeader.fields> | null {
    const bytes = new Uint8Array(HEADER_SIZE);
    if (size >= HEADER_SIZE) this.#read(bytes, 0);
    const header = LogHeader.decode(bytes);
    if (!checksumHolds(bytes) || header.magic !== LOG_MAGIC) {
      // Records follow only once the header is durable, so a file without any was never sealed.
      if (size <= HEADER_SIZE) return null;
      return this.#corrupt("its header is damaged", 0);
    }
    if (header.version !== LOG_VERSION || header.headerSize !== HEADER_SIZE) {
      throw new StorageError("unsupported", `${this.path} is an undo log of version ${header.version}`, {
        layer: "undo-log",
        feature: `undo log version ${header.version}`,
        hint: "use the version of unterbau that wrote it",
      });
    }
    return header;
  }

  #parse(tag: Uint8Array, size: number): { batches: Batch[]; end: number } {
    const batches: Batch[] = [];
    const window = new Window((into, at) => this.#read(into, at), size);
    /** The start of a batch that is not sealed: the next batch overwrites it. */
    let end = HEADER_SIZE;
    let at = HEADER_SIZE;
    for (;;) {
      const bytes = at + RECORD_SIZE <= size ? window.at(at, RECORD_SIZE) : null;
      if (!bytes || Buffer.compare(bytes.subarray(0, 8), tag) !== 0 || !checksumHolds(bytes)) break;
      const { type, batch: number } = RecordPrefix.decode(bytes);
      const batch = batches.at(-1);
      if (type === RECORD_TYPE.begin) {
        if (batch && batch.state !== "applied" && batch.state !== "rolled-back") break;
        if (batch && number <= batch.number) break;
        const begin = BeginRecord.decode(bytes);
        const oldSize = this.#number(begin.oldSize, at);
        batches.push({
          number,
          oldSize,
          newSize: this.#number(begin.newSize, at),
          oldMtimeNs: begin.oldMtimeNs,
          ranges: [],
          state: "open",
          after: null,
        });
        at += RECORD_SIZE;
        continue;
      }
      if (!batch || batch.number !== number) break;
      if (type === RECORD_TYPE.data && batch.state === "open") {
        const range = this.#range(bytes, at, batch);
        const stored = DataRecord.decode(bytes).stored;
        const next =
          at + RECORD_SIZE + stored + (range.flags & FLAG_CUT ? 0 : 4 * pieceCount(range.offset, range.length));
        if (next > size) break;
        batch.ranges.push(range);
        at = next;
      } else if (type === RECORD_TYPE.sealed && batch.state === "open") {
        if (SealRecord.decode(bytes).records !== BigInt(batch.ranges.length)) this.#corrupt("records are missing", at);
        batch.state = "sealed";
        at += RECORD_SIZE;
        end = at;
      } else if (type === RECORD_TYPE.applied && batch.state === "sealed") {
        batch.state = "applied";
        batch.after = this.#state(bytes, at);
        at += RECORD_SIZE;
        end = at;
      } else if (type === RECORD_TYPE.rolledBack && (batch.state === "sealed" || batch.state === "applied")) {
        batch.state = "rolled-back";
        batch.after = this.#state(bytes, at);
        at += RECORD_SIZE;
        end = at;
      } else {
        break;
      }
    }
    this.#refuseLaterControl(tag, at, size, batches.at(-1)?.number ?? 0, window);
    return { batches, end };
  }

  #range(bytes: Uint8Array, position: number, batch: Batch): LoggedRange {
    const record = DataRecord.decode(bytes);
    const offset = this.#number(record.offset, position);
    const { length, flags, stored } = record;
    const previous = batch.ranges.at(-1);
    const beyond = flags === FLAG_BEYOND;
    if (
      length === 0 ||
      length > MAX_RECORD ||
      flags > KNOWN_FLAGS ||
      (flags & FLAG_BEYOND && !beyond) ||
      stored !== (flags & (FLAG_ZERO + FLAG_BEYOND) ? 0 : length) ||
      offset + length > (beyond ? batch.newSize : batch.oldSize) ||
      (beyond && offset < batch.oldSize) ||
      (flags & FLAG_CUT && offset < batch.newSize) ||
      (!(flags & FLAG_CUT) && offset + length > batch.newSize) ||
      (previous && offset < previous.offset + previous.length)
    ) {
      this.#corrupt("a record contradicts its batch", position);
    }
    return { offset, length, flags, position };
  }

  #state(bytes: Uint8Array, position: number): SourceState {
    const record = EndRecord.decode(bytes);
    return { size: this.#number(record.size, position), mtimeNs: record.mtimeNs };
  }

  /**
   * Beyond a point where parsing stopped there may be the remains of an unfinished append, but no SEALED, APPLIED or ROLLED_BACK
   * record: those are written only when everything before them is durable. The tag is random, so guest bytes in a
   * payload cannot imitate one.
   */
  #refuseLaterControl(tag: Uint8Array, from: number, size: number, lastBatch: number, window: Window): void {
    const needle = Buffer.from(tag);
    for (let at = from; at + RECORD_SIZE <= size; ) {
      const bytes = Buffer.from(window.at(at, Math.min(WINDOW, size - at)));
      for (let i = bytes.indexOf(needle); i >= 0 && i + RECORD_SIZE <= bytes.length; i = bytes.indexOf(needle, i + 1)) {
        const record = bytes.subarray(i, i + RECORD_SIZE);
        if (!checksumHolds(record)) continue;
        const { type, batch } = RecordPrefix.decode(record);
        const control = type === RECORD_TYPE.sealed || type === RECORD_TYPE.applied || type === RECORD_TYPE.rolledBack;
        if (control && batch >= lastBatch) this.#corrupt("a record before this one is damaged", at + i);
      }
      at += bytes.length - (RECORD_SIZE - 1);
    }
  }

  #number(value: bigint, position: number): number {
    const n = exactNumber(value);
    return n ?? this.#corrupt("a number is beyond what can be addressed", position);
  }

  #read(into: Uint8Array, position: number): void {
    for (let done = 0; done < into.length; ) {
      const n = readSync(this.#fd, into, done, into.length - done, position + done);
      if (n === 0) this.#corrupt("it ends early", position + done);
      done += n;
    }
  }

  #corrupt(what: string, offset: number): never {
    throw new StorageError("corrupt", `the undo log ${this.path} cannot be used: ${what}`, {
      layer: "undo-log",
      offset,
      hint: "the source was left as it is; keep the log and the source, and restore from a backup if the source does not check clean",
    });
  }
}

/** Reads through a buffer, for many small neighbouring reads. */
class Window {
  readonly #fill: (into: Uint8Array, at: number) => void;
  readonly #size: number;
  #bytes = new Uint8Array(0);
  #start = 0;

  constructor(fill: (into: Uint8Array, at: number) => void, size: number) {
    this.#fill = fill;
    this.#size = size;
  }

  /** `length` bytes at `position`, which must be inside the file; valid until the next call. */
  at(position: number, length: number): Uint8Array {
    if (position < this.#start || position + length > this.#start + this.#bytes.length) {
      this.#bytes = new Uint8Array(Math.min(Math.max(WINDOW, length), this.#size - position));
      this.#start = position;
      this.#fill(this.#bytes, position);
    }
    return this.#bytes.subarray(position - this.#start, position - this.#start + length);
  }
}
