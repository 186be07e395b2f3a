import { join } from "node:path";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import type { Json } from "../core/finding.ts";
import type { CommitOptions, OverlayOptions } from "../core/overlay.ts";
import { type CommitResult, commitTogether, openTransaction, type Transaction } from "../core/transaction.ts";
import { setModifiedTime } from "./file-times.ts";
import { openSource } from "./open-source.ts";
import { createRun, pendingRunsFor, type StoredRun, stateDir, stateDirs, updateRun } from "./run-store.ts";
import { removeRun } from "./run-upkeep.ts";
import { type SourceIdentity, sourceIdentity } from "./source-identity.ts";

export interface RunOptions extends OverlayOptions {
  readonly verb: string;
  readonly sources: readonly { readonly path: string }[];
  /** Default: `stateDir()`. */
  readonly stateDir?: string | undefined;
  readonly tools?: { readonly [name: string]: string } | undefined;
}

/** A change of one or several sources under way: locked, logged, and taken back by recovery if the process dies. */
export interface Run extends AsyncDisposable {
  readonly id: string;
  /** Where run.json, the undo logs and the checkers' logs are. */
  readonly folder: string;
  /** The device of source `index`: reads and writes, but changes the source in `commit()` only. Disposed of with the run. */
  device(index: number): BlockDevice;
  /**
   * Makes everything written so far durable in all sources as one unit, and may be called again. Whatever it throws, the sources
   * are as before the call, unless the message says that the undo log has to take it back.
   */
  commit(options?: CommitOptions): Promise<CommitResult>;
  /** Forgets what was written since the last commit. */
  discard(): Promise<void>;
  /** Notes volumes with their verdicts, or tools' versions, in run.json. */
  note(change: { volumes?: readonly Json[]; tools?: { readonly [name: string]: string } }): void;
  /**
   * Ends the run, closes the sources and gives the locks back. The status becomes `committed` when a commit changed something;
   * else nothing of the run is in the sources, and nothing of it is kept. Disposal does it too.
   */
  finish(): Promise<void>;
}

/** Locks and opens all sources for writing. Throws `locked`, `io`, `read-only`; nothing stays open then. Run recovery before. */
export async function openRun(options: RunOptions): Promise<Run> {
  const identities = options.sources.map(({ path }) => ({ path, ...sourceIdentity(path) }));
  const twice = identities.find((a, i) => identities.findIndex((b) => b.realpath === a.realpath) !== i);
  if (twice) throw new StorageError("usage", `${twice.path} is named twice`, { layer: "file" });
  const files: FileDevice[] = [];
  try {
    for (const identity of identities) files.push((await openSource(identity, "write")).file);
    refuseUnrecovered(identities, options.stateDir ? [options.stateDir] : stateDirs());
    const stored = createRun(options.stateDir ?? stateDir(), {
      verb: options.verb,
      sources: identities,
      tools: options.tools,
    });
    const transactions = files.map((file, index) =>
      openTransaction(file, {
        memoryLimit: options.memoryLimit,
        spillDir: options.spillDir,
        undoLog: join(stored.folder, stored.record.sources[index]!.log),
        run: stored.record.run,
        index,
        restoreTime: setModifiedTime,
      }),
    );
    return new OpenRun(stored, files, transactions);
  } catch (error) {
    for (const file of files) await file[Symbol.asyncDispose]();
    throw error;
  }
}

/** Under our locks nobody can own a pending run any more: it was interrupted, and its batch must be taken back before another one. */
function refuseUnrecovered(identities: readonly SourceIdentity[], states: readonly string[]): void {
  for (const identity of identities) {
    const [pending] = pendingRunsFor(states, identity).runs;
    if (!pending) continue;
    throw new StorageError(
      "locked",
      `run ${pending.record.run} on ${identity.realpath} was interrupted and is not recovered`,
      {
        layer: "runs",
        hint: `\`unterbau undo ${pending.record.run}\` takes it back; with --force even where the source was changed since`,
      },
    );
  }
}

class OpenRun implements Run {
  #stored: StoredRun;
  readonly #files: readonly FileDevice[];
  readonly #transactions: readonly Transaction[];
  #batch = 0;
  #changed = false;
  #broken = false;
  #finished = false;

  constructor(stored: StoredRun, files: readonly FileDevice[], transactions: readonly Transaction[]) {
    this.#stored = stored;
    this.#files = files;
    this.#transactions = transactions;
  }

  get id(): string {
    return this.#stored.record.run;
  }

  get folder(): string {
    return this.#stored.folder;
  }

  device(index: number): BlockDevice {
    const transaction = this.#transactions[index];
    if (!transaction) throw new StorageError("usage", `the run has no source ${index}`);
    return transaction;
  }

  async commit(options?: CommitOptions): Promise<CommitResult> {
    if (this.#finished) throw new StorageError("io", "the run has ended already", { layer: "runs" });
    this.#batch++;
    try {
      const result = await commitTogether(this.#transactions, this.#batch, options);
      if (result.changed) this.#changed = true;
      return result;
    } catch (error) {
      // Only this failure leaves a sealed batch behind; then the run stays `running` for recovery to find.
      this.#broken ||= error instanceof StorageError && error.cause instanceof AggregateError;
      throw error;
    }
  }

  async discard(): Promise<void> {
    for (const transaction of this.#transactions) await transaction.discardAll();
  }

  note(change: { volumes?: readonly Json[]; tools?: { readonly [name: string]: string } }): void {
    this.#stored = updateRun(this.#stored, change);
  }

  async finish(): Promise<void> {
    if (this.#finished) return;
    this.#finished = true;
    let first: { readonly error: unknown } | undefined;
    const always = async (work: () => PromiseLike<void> | void) => {
      try {
        await work();
      } catch (error) {
        first ??= { error };
      }
    };
    await always(() => {
      if (this.#broken) return;
      const ended = new Date().toISOString();
      this.#stored = updateRun(this.#stored, { status: this.#changed ? "committed" : "rolled-back", ended });
    });
    // The status is durable before the locks are given back.
    for (const transaction of this.#transactions) await always(() => transaction[Symbol.asyncDispose]());
    await always(() => {
      if (this.#stored.record.status === "rolled-back") removeRun(this.#stored);
    });
    for (const file of this.#files) await always(() => file[Symbol.asyncDispose]());
    if (first) throw first.error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.finish();
  }
}
