import { createHash, randomBytes } from "node:crypto";
import { closeSync, constants, fsyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "../../bytes/crc.ts";
import { isZero } from "../../bytes/integers.ts";
import { ioError } from "../errors.ts";
import { syncPath } from "../sync-path.ts";
import {
  BeginRecord,
  DataRecord,
  EndRecord,
  FLAG_BEYOND,
  FLAG_CUT,
  FLAG_ZERO,
  HEADER_SIZE,
  LOG_MAGIC,
  LOG_VERSION,
  LogHeader,
  type LogIdentity,
  pieceTable,
  RECORD_SIZE,
  RECORD_TYPE,
  RESERVE,
  SealRecord,
  sealChecksum,
} from "./format.ts";

/** Records are gathered up to this many bytes, then written at once: many small ranges cost few system calls. */
const BUFFER = 4 * 1024 * 1024;

/** What a source looks like before or after a batch; `mtimeNs` 0n where the time says nothing (block devices). */
export interface SourceState {
  /** Bytes. */
  readonly size: number;
  readonly mtimeNs: bigint;
}

/**
 * Appends to an undo log. The order that callers keep: `begin`, `record`…, `sync`, `seal` — then the source may be changed —
 * `end("applied")` or `end("rolledBack")`. Every method throws `io` when the log cannot be written.
 */
export class UndoLogWriter {
  readonly path: string;
  readonly #fd: number;
  readonly #tag: Uint8Array;
  /** Where the next record goes; the file may be longer (reserve). */
  #end: number;
  #batchStart: number;
  #batch = 0;
  #records = 0;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;

  private constructor(path: string, fd: number, tag: Uint8Array, end: number) {
    this.path = path;
    this.#fd = fd;
    this.#tag = tag;
    this.#end = end;
    this.#batchStart = end;
  }

  /** Creates the file (mode 0600, must not exist) and makes it durable, its name included. */
  static create(path: string, identity: LogIdentity): UndoLogWriter {
    const tag = randomBytes(8);
    const header = new Uint8Array(HEADER_SIZE);
    LogHeader.encode(
      { ...identity, magic: LOG_MAGIC, version: LOG_VERSION, headerSize: HEADER_SIZE, tag: Uint8Array.from(tag) },
      header,
    );
    sealChecksum(header);
    const fd = guarded(path, () => openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600));
    const writer = new UndoLogWriter(path, fd, tag, HEADER_SIZE);
    try {
      writer.#put(header, 0);
      writer.sync();
      guarded(path, () => syncPath(dirname(path)));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return writer;
  }

  /** Opens an existing log to append behind `end`, both as the reader found them. */
  static append(path: string, tag: Uint8Array, end: number): UndoLogWriter {
    return new UndoLogWriter(
      path,
      guarded(path, () => openSync(path, constants.O_RDWR)),
      tag,
      end,
    );
  }

  /** Starts batch number `batch` (counting up within a run, over all its sources). Sizes in bytes. */
  begin(batch: number, old: SourceState, newSize: number): void {
    this.#batchStart = this.#end;
    this.#batch = batch;
    this.#records = 0;
    const record = this.#record(RECORD_TYPE.begin);
    BeginRecord.encode({ oldSize: BigInt(old.size), newSize: BigInt(newSize), oldMtimeNs: old.mtimeNs }, record);
    sealChecksum(record);
    this.#append(record);
  }

  /**
   * A range of at most MAX_RECORD bytes: `old` null beyond the source's old end, `now` null where the source is cut off.
   * The buffers are not kept, except until the next `sync`.
   */
  record(offset: number, old: Uint8Array | null, now: Uint8Array | null): void {
    const length = (old ?? now)!.length;
    const zero = old !== null && isZero(old);
    const payload = old === null || zero ? new Uint8Array(0) : old;
    const table = now === null ? new Uint8Array(0) : pieceTable(now, offset);
    const record = this.#record(RECORD_TYPE.data);
    DataRecord.encode(
      {
        flags: (zero ? FLAG_ZERO : 0) + (old === null ? FLAG_BEYOND : 0) + (now === null ? FLAG_CUT : 0),
        tableCrc: crc32(table),
        offset: BigInt(offset),
        length,
        stored: payload.length,
        oldHash: old === null ? new Uint8Array(32) : sha256(old),
        newHash: now === null ? new Uint8Array(32) : sha256(now),
      },
      record,
    );
    sealChecksum(record);
    this.#records++;
    this.#append(record);
    this.#append(payload.slice());
    this.#append(table);
  }

  /** Everything recorded so far is durable. */
  sync(): void {
    this.#drain();
    guarded(this.path, () => fsyncSync(this.#fd));
  }

  /** Declares the batch complete, durably: from here on a crash leads to its rollback. Call `sync` before. */
  seal(): void {
    const record = new Uint8Array(RECORD_SIZE + RESERVE);
    record.set(this.#record(RECORD_TYPE.sealed));
    SealRecord.encode({ records: BigInt(this.#records) }, record);
    sealChecksum(record.subarray(0, RECORD_SIZE));
    this.#put(record, this.#end);
    this.#end += RECORD_SIZE;
    guarded(this.path, () => fsyncSync(this.#fd));
  }

  /** Ends a sealed batch, durably. Overwrites reserved bytes, so a full disk does not stop it. */
  end(how: "applied" | "rolledBack", batch: number, source: SourceState): void {
    this.#batch = batch;
    const record = this.#record(RECORD_TYPE[how]);
    EndRecord.encode({ size: BigInt(source.size), mtimeNs: source.mtimeNs }, record);
    sealChecksum(record);
    this.#put(record, this.#end);
    this.#end += RECORD_SIZE;
    guarded(this.path, () => fsyncSync(this.#fd));
  }

  /** Takes back what the current batch appended; only while nothing of it was applied. */
  abandon(): void {
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#end = this.#batchStart;
    guarded(this.path, () => {
      ftruncateSync(this.#fd, this.#end);
      fsyncSync(this.#fd);
    });
  }

  close(): void {
    closeSync(this.#fd);
  }

  #record(type: number): Uint8Array {
    const record = new Uint8Array(RECORD_SIZE);
    BeginRecord.encode({ tag: Uint8Array.from(this.#tag), type, batch: this.#batch }, record);
    return record;
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    if (this.#gatheredBytes >= BUFFER) this.#drain();
  }

  #drain(): void {
    if (this.#gathered.length === 0) return;
    this.#put(Buffer.concat(this.#gathered, this.#gatheredBytes), this.#end);
    this.#end += this.#gatheredBytes;
    this.#gathered = [];
    this.#gatheredBytes = 0;
  }

  #put(bytes: Uint8Array, position: number): void {
    guarded(this.path, () => {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done);
      }
    });
  }
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash("sha256").update(bytes).digest());
}

function guarded<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const full = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
    throw ioError(error, `cannot write the undo log ${path}`, {
      layer: "undo-log",
      hint: full
        ? "there is no room to note the old bytes, so the source was left alone: free space there, or choose another folder with UNTERBAU_STATE_DIR"
        : "the source is changed only when its old bytes can be kept: choose a folder that can be written to with UNTERBAU_STATE_DIR",
    });
  }
}
