import { StorageError } from "../core/errors.ts";
import { forgetCheck } from "../host/check-store.ts";
import { isAlive } from "../host/owner.ts";
import { findRun, stateDirs } from "../host/run-store.ts";
import { completeUndo, notAnyMore, type UndoOptions, type UndoResult } from "./complete-undo.ts";
import { recoverRun } from "./recover-run.ts";

export type { UndoOptions, UndoResult } from "./complete-undo.ts";

/**
 * Makes the sources of a run what they were before it, byte for byte, sizes and modification times included. `id` as for `findRun`.
 * Refuses (`usage`) if anything was changed since: size or time of a file, the SHA-256 of any range that the run wrote. If it is killed, the next
 * command on the source, or the same call, completes it.
 */
export async function undoRun(id: string, options: UndoOptions = {}): Promise<UndoResult> {
  const states = options.stateDirs ?? stateDirs();
  let run = findRun(states, id);
  if (run.record.status === "running") {
    if (isAlive(run.record.owner)) {
      throw new StorageError("locked", `run ${run.record.run} is still going on (pid ${run.record.owner.pid})`, {
        layer: "runs",
        hint: "wait for it, or end it with Ctrl-C",
      });
    }
    const recovered = await recoverRun(run, { force: options.force ?? false });
    if (recovered.reason !== null) {
      throw new StorageError(recovered.outcome === "refused" ? "usage" : "locked", recovered.reason, {
        layer: "runs",
        hint: recovered.hint ?? undefined,
      });
    }
    run = findRun(states, run.record.run);
    if (run.record.status === "rolled-back") return { run: run.record.run, sources: [] };
  }
  const { status } = run.record;
  if (status === "accepted") throw notAnyMore(run);
  if (status === "undoing" && isAlive(run.record.owner)) {
    throw new StorageError("locked", `run ${run.record.run} is being undone (pid ${run.record.owner.pid})`, {
      layer: "runs",
    });
  }
  if (status !== "committed" && status !== "interrupted" && status !== "undoing") {
    throw new StorageError("usage", `run ${run.record.run} is ${status}: nothing of it is in its sources`, {
      layer: "runs",
    });
  }
  const result = await completeUndo(run, options);
  for (const source of run.record.sources) forgetCheck(source);
  return result;
}
