import { StorageError } from "../core/errors.ts";
import { pruneChecks } from "../host/check-store.ts";
import { isAlive } from "../host/owner.ts";
import {
  findRun,
  listRuns,
  type RunStatus,
  reloadRun,
  type StoredRun,
  stateDirs,
  updateRun,
} from "../host/run-store.ts";
import { deleteUndoLogs, holdRun, removeLeftovers, removeRun, undoLogBytes } from "../host/run-upkeep.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

export interface KeepOptions {
  /** Default: `stateDirs()`. */
  readonly stateDirs?: readonly string[] | undefined;
}

/** `unterbau runs --accept --json` (docs/schemas/accept.json). */
export interface AcceptDocument {
  readonly schema: "unterbau/accept/1";
  readonly run: string;
  /** accepted: what it changed stays, and cannot be undone any more. interrupted: it is over now, and can still be undone. */
  readonly status: string;
  /** Bytes on the disk that its undo logs took. */
  readonly freedBytes: number;
}

/** `unterbau runs --prune DAYS --json` (docs/schemas/prune.json). */
export interface PruneDocument {
  readonly schema: "unterbau/prune/1";
  readonly removed: readonly string[];
  readonly freedBytes: number;
  /** Last verdicts of disks that were removed; `list` no longer knows them. */
  readonly removedVerdicts: number;
}

/** Whether a run with this status can be taken back by `undo`, which accepting or removing it would end. */
export function canBeUndone(status: string): boolean {
  return status === "committed" || status === "interrupted";
}

/** The run that `accept` would act on, for a question to the user. Throws as `findRun`. */
export function runToAccept(
  id: string,
  options: KeepOptions = {},
): { readonly run: string; readonly status: RunStatus } {
  const { run, status } = findRun(options.stateDirs ?? stateDirs(), id).record;
  return { run, status };
}

/**
 * Ends the possibility to undo a run: what it changed is to stay, and its undo logs are deleted. A run that a crash cut short is only declared
 * as over, without writing anything to its sources: whoever has mended them in another way ends the refusal so, and its logs stay until it is
 * accepted once more. Throws `usage` when its process lives, or when it is accepted already; `locked` while it is being undone.
 */
export function acceptRun(id: string, options: KeepOptions = {}): AcceptDocument {
  const found = findRun(options.stateDirs ?? stateDirs(), id);
  using _held = holdRun(found);
  const run = reloadRun(found);
  const { status, owner } = run.record;
  const result = (s: RunStatus, freedBytes: number): AcceptDocument => ({
    schema: "unterbau/accept/1",
    run: run.record.run,
    status: s,
    freedBytes,
  });
  if (status === "running" || status === "undoing") {
    if (isAlive(owner)) throw new StorageError("usage", `run ${run.record.run} is still going on`, { layer: "runs" });
    updateRun(run, { status: "interrupted", ended: new Date().toISOString() });
    return result("interrupted", 0);
  }
  if (!canBeUndone(status)) {
    throw new StorageError("usage", `run ${run.record.run} is ${status}: there is nothing to accept`, {
      layer: "runs",
      hint: "`unterbau runs --prune DAYS` removes old runs",
    });
  }
  const freed = undoLogBytes(run);
  // First, so that a crash cannot leave a run that looks as if it could be undone, with half of its logs.
  updateRun(run, { status: "accepted" });
  deleteUndoLogs(run);
  return result("accepted", freed);
}

/** Runs that ended more than `days` days before `now`, oldest first. What goes on, or was cut short and is not recovered, is never among them. */
export function prunableRuns(
  days: number,
  options: KeepOptions = {},
  now: Date = new Date(),
): readonly { readonly run: string; readonly status: RunStatus }[] {
  return prunable(days, options, now).map(({ record: { run, status } }) => ({ run, status }));
}

function prunable(days: number, options: KeepOptions, now: Date): StoredRun[] {
  const before = now.getTime() - days * DAY_MS;
  return listRuns(options.stateDirs ?? stateDirs()).runs.filter(({ record: { status, started, ended } }) => {
    const over = status !== "running" && status !== "undoing";
    return over && Date.parse(ended ?? started) <= before;
  });
}

/** Removes the runs that `prunableRuns` lists, undo logs and all, and last verdicts as old. A run that another command works on is left. */
export function pruneRuns(days: number, options: KeepOptions = {}, now: Date = new Date()): PruneDocument {
  const removed: string[] = [];
  let freedBytes = 0;
  for (const found of prunable(days, options, now)) {
    using held = holdIfFree(found);
    if (held === null) continue;
    const run = reloadRun(found);
    if (run.record.status === "running" || run.record.status === "undoing") continue;
    freedBytes += undoLogBytes(run);
    removeRun(run);
    removed.push(run.record.run);
  }
  const states = options.stateDirs ?? stateDirs();
  for (const state of states) removeLeftovers(state);
  const removedVerdicts = pruneChecks(new Date(now.getTime() - days * DAY_MS), states);
  return { schema: "unterbau/prune/1", removed, freedBytes, removedVerdicts };
}

function holdIfFree(run: StoredRun): Disposable | null {
  try {
    return holdRun(run);
  } catch (error) {
    if (error instanceof StorageError && error.code === "locked") return null;
    throw error;
  }
}
