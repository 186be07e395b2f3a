import { describeError, StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import { sourceState } from "../core/transaction.ts";
import { foreignRanges, restoreBatch, verifyBatch } from "../core/undo-log/restore.ts";
import { UndoLogWriter } from "../core/undo-log/writer.ts";
import { setModifiedTime } from "../host/file-times.ts";
import { openSource } from "../host/open-source.ts";
import { type StoredRun, updateRun } from "../host/run-store.ts";
import { completeUndo } from "./complete-undo.ts";
import { appliedBatches, closeLogs, halfBatch, openLogs, type RunLog } from "./run-logs.ts";

/**
 * rolled-back: a half-applied batch was taken back. interrupted: nothing was half-applied; complete batches of the run, if any, stay and can
 * be undone. undo-completed: an undo that was cut short is finished. refused: the source was changed by somebody else
 * since, or the log is damaged; nothing was written. blocked: a source cannot be opened or locked now.
 */
export type RecoveryOutcome = "rolled-back" | "interrupted" | "undo-completed" | "refused" | "blocked";

export interface RecoveredRun {
  readonly run: string;
  readonly verb: string;
  readonly started: string;
  readonly outcome: RecoveryOutcome;
  /** Why it was refused or is blocked, else null. */
  readonly reason: string | null;
  readonly hint: string | null;
  /** Paths of the run's sources. */
  readonly sources: readonly string[];
}

/** Recovers one run whose process is dead. `force`: also where somebody else wrote since. Never throws for what is wrong with the run. */
export async function recoverRun(run: StoredRun, options: { readonly force?: boolean } = {}): Promise<RecoveredRun> {
  const result = (outcome: RecoveryOutcome, error?: unknown): RecoveredRun => ({
    run: run.record.run,
    verb: run.record.verb,
    started: run.record.started,
    outcome,
    reason: error === undefined ? null : describeError(error),
    hint: error instanceof StorageError ? (error.hint ?? null) : null,
    sources: run.record.sources.map((s) => s.realpath),
  });
  try {
    if (run.record.status === "undoing") {
      await completeUndo(run, options);
      return result("undo-completed");
    }
    return result((await takeBack(run, options.force ?? false)) ? "rolled-back" : "interrupted");
  } catch (error) {
    const refused = error instanceof StorageError && (error.code === "corrupt" || error.code === "usage");
    return result(refused ? "refused" : "blocked", error);
  }
}

/** True when there was a half-applied batch. */
async function takeBack(run: StoredRun, force: boolean): Promise<boolean> {
  const first = openLogs(run);
  const candidates = halfBatch(first).map(({ entry }) => entry.source);
  closeLogs(first);
  const files = new Map<string, FileDevice>();
  try {
    for (const source of candidates) files.set(source.log, (await openSource(source, "write")).file);
    // Another process may have recovered the run while we waited for nothing but its lock: look again under ours.
    const logs = openLogs(run);
    try {
      const half = halfBatch(logs).filter(({ entry }) => files.has(entry.source.log));
      for (const { entry, batch } of half) {
        verifyBatch(entry.log, batch);
        const foreign = force ? [] : await foreignRanges(files.get(entry.source.log)!, entry.log, batch);
        if (foreign.length > 0) throw changedSince(entry, run, foreign[0]!.offset);
      }
      for (const { entry, batch } of half) {
        const file = files.get(entry.source.log)!;
        await restoreBatch(file, entry.log, batch);
        await file.flush();
        setModifiedTime(file.fd, batch.oldMtimeNs);
        const writer = UndoLogWriter.append(entry.path, entry.log.header!.tag, entry.log.end);
        try {
          writer.end("rolledBack", batch.number, sourceState(file));
        } finally {
          writer.close();
        }
      }
    } finally {
      closeLogs(logs);
    }
    const now = openLogs(run);
    const kept = now.some(({ log }) => appliedBatches(log).length > 0);
    closeLogs(now);
    updateRun(run, { status: kept ? "interrupted" : "rolled-back", ended: new Date().toISOString() });
    return candidates.length > 0;
  } finally {
    for (const file of files.values()) await file[Symbol.asyncDispose]();
  }
}

function changedSince(entry: RunLog, run: StoredRun, offset: number): StorageError {
  return new StorageError(
    "usage",
    `${entry.source.realpath} holds half of run ${run.record.run}, but was changed by something else since`,
    {
      layer: "undo-log",
      offset,
      hint: `a guest may have run on it: check a copy first; \`unterbau undo --force ${run.record.run}\` writes the old bytes back regardless`,
    },
  );
}
