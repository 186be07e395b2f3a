import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";
import { lockExclusively } from "./locks.ts";
import type { StoredRun } from "./run-store.ts";

const LOCK_FILE = "lock";
const REMOVED = ".removed-";

/**
 * Holds a run that is over against others who would take it back, accept or remove it. Read the record again afterwards: it may have
 * changed before. Throws `locked` when another process has it. Ends with the process, too.
 */
export function holdRun(run: StoredRun): Disposable {
  const { run: id } = run.record;
  let fd: number;
  try {
    fd = openSync(join(run.folder, LOCK_FILE), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw ioError(error, `cannot lock run ${id}`, { layer: "runs" });
  }
  if (!lockExclusively(fd)) {
    closeSync(fd);
    throw new StorageError("locked", `another command works on run ${id}`, { layer: "runs", hint: "wait for it" });
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** Bytes that the run's undo logs take on the disk. */
export function undoLogBytes(run: StoredRun): number {
  return logsOf(run).reduce((sum, path) => sum + statSync(path).blocks * 512, 0);
}

/** Deletes the undo logs of a run: it cannot be undone any more. */
export function deleteUndoLogs(run: StoredRun): void {
  for (const path of logsOf(run)) unlinkSync(path);
  syncPath(run.folder);
}

/** Removes a run with all that belongs to it; it is gone from the list at once, whatever interrupts the rest. */
export function removeRun(run: StoredRun): void {
  const away = join(dirname(run.folder), `${REMOVED}${basename(run.folder)}`);
  renameSync(run.folder, away);
  syncPath(dirname(run.folder));
  rmSync(away, { recursive: true, force: true });
}

/** Takes away what a `removeRun` that was interrupted left in this state folder. */
export function removeLeftovers(state: string): void {
  const folder = join(state, "runs");
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (name.startsWith(REMOVED)) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function logsOf(run: StoredRun): string[] {
  return run.record.sources.map((s) => join(run.folder, s.log)).filter((path) => existsSync(path));
}
