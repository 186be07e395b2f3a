import { StorageError } from "../core/errors.ts";
import type { FileDevice } from "../core/file-device.ts";
import type { OverlayOptions } from "../core/overlay.ts";
import { sourceState } from "../core/transaction.ts";
import type { Batch } from "../core/undo-log/reader.ts";
import { type UndoImage, undoImage, verifyBatch, writePages } from "../core/undo-log/restore.ts";
import { setModifiedTime } from "../host/file-times.ts";
import { openSource } from "../host/open-source.ts";
import { thisProcess } from "../host/owner.ts";
import { reloadRun, type StoredRun, updateRun } from "../host/run-store.ts";
import { holdRun } from "../host/run-upkeep.ts";
import { appliedBatches, closeLogs, openLogs, type RunLog } from "./run-logs.ts";

export interface UndoOptions extends OverlayOptions {
  /** Restore the old bytes even where the source was changed since. */
  readonly force?: boolean | undefined;
  /** Default: `stateDirs()`. */
  readonly stateDirs?: readonly string[] | undefined;
}

export interface UndoResult {
  readonly run: string;
  readonly sources: readonly { readonly path: string; readonly restoredBytes: number }[];
}

/** The writing half of `undoRun`, for a run that is committed, interrupted, or was being undone when a crash came. */
export async function completeUndo(run: StoredRun, options: UndoOptions = {}): Promise<UndoResult> {
  const resumed = run.record.status === "undoing";
  const mode = options.force ? "force" : resumed ? "resumed" : "fresh";
  using _held = holdRun(run);
  if (reloadRun(run).record.status === "accepted") throw notAnyMore(run);
  const logs = openLogs(run);
  const work: { entry: RunLog; batches: Batch[]; file: FileDevice; image: UndoImage }[] = [];
  const files: FileDevice[] = [];
  try {
    for (const entry of logs) {
      const batches = options.force
        ? entry.log.batches.filter((b) => b.state === "applied" || b.state === "sealed")
        : appliedBatches(entry.log);
      if (batches.length === 0) continue;
      const { file } = await openSource(entry.source, "write");
      files.push(file);
      if (mode === "fresh") refuseOtherState(entry, run, file);
      for (const batch of batches) verifyBatch(entry.log, batch);
      const image = await undoImage(file, entry.log, batches, mode, options);
      work.push({ entry, batches, file, image });
      if (mode !== "force" && image.foreign.length > 0) throw changedSince(entry, run, image.foreign[0]!.offset);
    }
    // From here on the undo goes on after a crash.
    const undoing = updateRun(run, { status: "undoing", owner: thisProcess() });
    const sources: UndoResult["sources"][number][] = [];
    for (const { entry, batches, file, image } of work) {
      const restoredBytes = await image.overlay.changedBytes();
      await writePages(image.overlay, file);
      setModifiedTime(file.fd, batches[0]!.oldMtimeNs);
      sources.push({ path: entry.source.path, restoredBytes });
    }
    updateRun(undoing, { status: "undone", ended: new Date().toISOString() });
    return { run: run.record.run, sources };
  } finally {
    for (const { image } of work) await image.overlay[Symbol.asyncDispose]();
    for (const file of files) await file[Symbol.asyncDispose]();
    closeLogs(logs);
  }
}

/** The run's changes were accepted, and its undo logs deleted. */
export function notAnyMore(run: StoredRun): StorageError {
  return new StorageError("usage", `run ${run.record.run} was accepted: its undo logs are deleted`, { layer: "runs" });
}

/** The cheap half of "unchanged since": as the last batch left it, or its rollback. */
function refuseOtherState(entry: RunLog, run: StoredRun, file: FileDevice): void {
  const after = entry.log.batches.filter((b) => b.after !== null).at(-1)?.after;
  const now = sourceState(file);
  if (after && after.size === now.size && after.mtimeNs === now.mtimeNs) return;
  throw changedSince(entry, run, undefined);
}

function changedSince(entry: RunLog, run: StoredRun, offset: number | undefined): StorageError {
  return new StorageError("usage", `${entry.source.realpath} was changed since run ${run.record.run}`, {
    layer: "undo-log",
    offset,
    hint: "undoing it now would mix old and new: undo later runs first (`unterbau runs`), restore a backup, or insist with --force",
  });
}
