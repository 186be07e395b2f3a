import { fstatSync } from "node:fs";
import { alignDown } from "../bytes/integers.ts";
import { checked } from "./checked.ts";
import { type BlockDevice, type Capabilities, type Extent, type IoOptions, readBytes } from "./device.ts";
import { StorageError } from "./errors.ts";
import type { FileDevice } from "./file-device.ts";
import { type CommitOptions, Overlay, type OverlayOptions } from "./overlay.ts";
import type { ByteRange } from "./range-set.ts";
import { RwLock } from "./rw-lock.ts";
import { type LogIdentity, MAX_RECORD } from "./undo-log/format.ts";
import { UndoLogReader } from "./undo-log/reader.ts";
import { restoreBatch } from "./undo-log/restore.ts";
import { type SourceState, UndoLogWriter } from "./undo-log/writer.ts";

export interface TransactionOptions extends OverlayOptions {
  /** Path of the undo log; created at the first commit that changes something, must not exist. */
  readonly undoLog: string;
  /** The run's id and the source's number in it, noted in the log. */
  readonly run: string;
  readonly index: number;
  /** Sets a file's modification time (nanoseconds since 1970) after a rollback, when nothing of it is changed any more. */
  readonly restoreTime?: ((fd: number, mtimeNs: bigint) => void) | undefined;
}

export interface CommitResult {
  /** Something was written, or a size was changed. */
  readonly changed: boolean;
  /** Bytes that were written because they differ. */
  readonly changedBytes: number;
}

/**
 * A source under change: writes stay in an overlay, and reach the file only in `commit()`, behind an undo log.
 * `flush()` promises nothing to layers above except order, which the commit keeps as a whole.
 */
export interface Transaction extends BlockDevice {
  /** Something was written since the last commit (it may equal what was there). */
  readonly dirty: boolean;
  /** `commitTogether` for this source alone. `batch` counts up from 1 within a run. */
  commit(batch: number, options?: CommitOptions): Promise<CommitResult>;
  /** Forgets what was written since the last commit. */
  discardAll(): Promise<void>;
}

/** Disposing of the transaction forgets what was not committed and leaves `file` open. */
export function openTransaction(file: FileDevice, options: TransactionOptions): Transaction {
  if (!file.caps.writable) throw new StorageError("read-only", "opened for reading only", { layer: "file" });
  return new FileTransaction(file, options);
}

/**
 * Makes the changes of several sources durable as one unit: after a crash at any moment recovery finds all of them as before
 * or all as after. The order is what makes it so: every log holds the old bytes and is sealed before the first source is
 * touched, and no source counts as applied before all are written.
 *
 * Throws without any source byte changed when a log cannot be written or `signal` aborts; a failure later is rolled back at once
 * and thrown. The changes stay in the transactions either way.
 */
export async function commitTogether(
  transactions: readonly Transaction[],
  batch: number,
  options: CommitOptions = {},
): Promise<CommitResult> {
  const all = transactions.map((t) => {
    if (t instanceof FileTransaction) return t;
    throw new StorageError("usage", "not a transaction of openTransaction()");
  });
  return locked(all, async () => {
    const touched: FileTransaction[] = [];
    try {
      for (const t of all) if (await t.prepare(batch, options)) touched.push(t);
      for (const t of touched) t.seal();
    } catch (error) {
      for (const t of all) t.abandon();
      throw error;
    }
    const total = touched.reduce((sum, t) => sum + t.preparedBytes, 0);
    let done = 0;
    try {
      for (const t of touched) {
        await t.apply((bytes) => {
          done += bytes;
          options.onProgress?.(done, total);
        });
      }
      for (const t of touched) t.applied();
    } catch (error) {
      await rollBack(touched, error);
      throw error;
    }
    for (const t of touched) await t.settle();
    return { changed: touched.length > 0, changedBytes: total };
  });
}

/** Holds every transaction's lock, taken in the given order. */
function locked<T>(transactions: readonly FileTransaction[], work: () => Promise<T>): Promise<T> {
  const [first, ...rest] = transactions;
  return first ? first.exclusively(() => locked(rest, work)) : work();
}

async function rollBack(touched: readonly FileTransaction[], cause: unknown): Promise<void> {
  for (const t of touched) {
    try {
      await t.rollBack();
    } catch (error) {
      for (const each of touched) each.fail();
      throw new StorageError("io", "a commit failed half-way, and taking it back failed too", {
        layer: "undo-log",
        hint: "do not start the guest: mend what the cause names, then run any unterbau command on this source; it takes the rest back from the undo log",
        cause: new AggregateError([cause, error], String(error instanceof Error ? error.message : error)),
      });
    }
  }
}

class FileTransaction implements Transaction {
  readonly caps: Capabilities;
  readonly resize?: (size: number) => Promise<void>;
  readonly #file: FileDevice;
  readonly #options: TransactionOptions;
  readonly #overlay: Overlay;
  readonly #io: BlockDevice;
  readonly #lock = new RwLock();
  #log: UndoLogWriter | undefined;
  #ranges: ByteRange[] = [];
  #batch = 0;
  #begun = false;
  #failed = false;

  constructor(file: FileDevice, options: TransactionOptions) {
    this.#file = file;
    this.#options = options;
    this.#overlay = new Overlay(file, options);
    const overlay = this.#overlay;
    const lock = this.#lock;
    const bare: BlockDevice = {
      get size() {
        return overlay.size;
      },
      caps: overlay.caps,
      read: (into, offset, io) => lock.shared(() => overlay.read(into, offset, io)),
      write: (from, offset, io) => lock.shared(() => overlay.write(from, offset, io)),
      zero: (offset, length, io) => lock.shared(() => overlay.zero(offset, length, io)),
      discard: async () => undefined,
      extents: (offset, length, io) => overlay.extents(offset, length, io),
      flush: async () => undefined,
      [Symbol.asyncDispose]: () =>
        lock.exclusive(async () => {
          this.#log?.close();
          await overlay[Symbol.asyncDispose]();
        }),
    };
    if (overlay.resize) bare.resize = (size) => lock.shared(() => overlay.resize!(size));
    this.#io = checked(bare, "transaction");
    this.caps = this.#io.caps;
    if (this.#io.resize) this.resize = this.#io.resize;
  }

  get size(): number {
    return this.#io.size;
  }

  get dirty(): boolean {
    return this.#overlay.touchedBytes > 0 || this.#overlay.size !== this.#file.size;
  }

  /** Bytes that the prepared batch will write. */
  get preparedBytes(): number {
    return this.#ranges.reduce((sum, r) => sum + r.length, 0);
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#io.read(into, offset, options);
  }

  write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#io.write(from, offset, options);
  }

  zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    return this.#io.zero(offset, length, options);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#io.discard(offset, length);
  }

  extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    return this.#io.extents(offset, length, options);
  }

  flush(): Promise<void> {
    return this.#io.flush();
  }

  commit(batch: number, options?: CommitOptions): Promise<CommitResult> {
    return commitTogether([this], batch, options);
  }

  discardAll(): Promise<void> {
    return this.#lock.exclusive(() => this.#overlay.discardAll());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#io[Symbol.asyncDispose]();
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#lock.exclusive(work);
  }

  /** Notes the old bytes of everything that changes, durably. False: nothing changes. */
  async prepare(batch: number, options: IoOptions): Promise<boolean> {
    if (this.#failed) throw this.#unusable();
    const oldSize = this.#file.size;
    const newSize = this.#overlay.size;
    this.#batch = batch;
    this.#ranges = [];
    for await (const range of this.#overlay.changedRanges(options)) {
      for (const part of split(range, oldSize)) this.#ranges.push(part);
    }
    if (this.#ranges.length === 0 && newSize === oldSize) return false;
    this.#log ??= UndoLogWriter.create(this.#options.undoLog, this.#identity());
    const log = this.#log;
    this.#begun = true;
    log.begin(batch, sourceState(this.#file), newSize);
    for (const { offset, length } of this.#ranges) {
      const old = offset < oldSize ? await readBytes(this.#file, offset, length, options) : null;
      log.record(offset, old, await readBytes(this.#overlay, offset, length, options));
    }
    if (newSize < oldSize) {
      for await (const e of this.#file.extents(newSize, oldSize - newSize, options)) {
        if (e.kind !== "data") continue;
        for (const { offset, length } of split(e, oldSize)) {
          log.record(offset, await readBytes(this.#file, offset, length, options), null);
        }
      }
    }
    log.sync();
    return true;
  }

  seal(): void {
    this.#log!.seal();
  }

  /** Takes the prepared records back; nothing of them was applied. A failure leaves them unused in the log. */
  abandon(): void {
    if (!this.#begun) return;
    this.#begun = false;
    try {
      this.#log!.abandon();
    } catch {
      // The log ends in records that are not sealed, or whose rollback changes nothing: both are harmless, and the first error is the one to tell.
    }
  }

  /** Writes the file. It shrinks last, when nothing else can fail any more: space that was given back may be gone. */
  async apply(onBytes: (bytes: number) => void): Promise<void> {
    const size = this.#overlay.size;
    if (size > this.#file.size) await this.#resizeFile(size);
    for (const { offset, length } of this.#ranges) {
      await this.#file.write(await readBytes(this.#overlay, offset, length), offset);
      onBytes(length);
    }
    await this.#file.flush();
    if (size < this.#file.size) {
      await this.#resizeFile(size);
      await this.#file.flush();
    }
  }

  applied(): void {
    this.#log!.end("applied", this.#batch, sourceState(this.#file));
  }

  async rollBack(): Promise<void> {
    const log = UndoLogReader.open(this.#options.undoLog);
    try {
      const batch = log.batches.at(-1);
      if (batch?.number !== this.#batch) throw new Error("the undo log does not end with the batch");
      await restoreBatch(this.#file, log, batch);
      await this.#file.flush();
      this.#options.restoreTime?.(this.#file.fd, batch.oldMtimeNs);
      this.#log!.end("rolledBack", this.#batch, sourceState(this.#file));
    } finally {
      log.close();
    }
    this.#begun = false;
  }

  /** The file holds everything now. */
  async settle(): Promise<void> {
    this.#begun = false;
    this.#ranges = [];
    await this.#overlay.discardAll();
  }

  fail(): void {
    this.#failed = true;
  }

  #resizeFile(size: number): Promise<void> {
    if (!this.#file.resize) throw new StorageError("range", "the source cannot change its size", { layer: "file" });
    return this.#file.resize(size);
  }

  #identity(): LogIdentity {
    const stat = fstatSync(this.#file.fd, { bigint: true });
    return {
      sourceKind: stat.isBlockDevice() ? 2 : 1,
      sourceIndex: this.#options.index,
      dev: stat.isBlockDevice() ? stat.rdev : stat.dev,
      ino: stat.ino,
      size: BigInt(this.#file.size),
      run: this.#options.run,
    };
  }

  #unusable(): StorageError {
    return new StorageError("io", "an earlier commit could neither be finished nor taken back", {
      layer: "undo-log",
      hint: "end this run, then run any unterbau command on the source: it recovers",
    });
  }
}

/** Size and time of the file as the next run will see them, if nobody else writes. */
export function sourceState(file: FileDevice): SourceState {
  const stat = fstatSync(file.fd, { bigint: true });
  return { size: file.size, mtimeNs: stat.isFile() ? stat.mtimeNs : 0n };
}

/** Cuts a range at `boundary` and at multiples of MAX_RECORD, so that no page lies in two records of it. */
function* split(range: ByteRange, boundary: number): IterableIterator<ByteRange> {
  const end = range.offset + range.length;
  for (let at = range.offset; at < end; ) {
    let to = Math.min(end, alignDown(at, MAX_RECORD) + MAX_RECORD);
    if (at < boundary) to = Math.min(to, boundary);
    yield { offset: at, length: to - at };
    at = to;
  }
}
