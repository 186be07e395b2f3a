import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Batch, UndoLogReader } from "../core/undo-log/reader.ts";
import type { RunSource, StoredRun } from "../host/run-store.ts";

export interface RunLog {
  readonly source: RunSource;
  readonly path: string;
  readonly log: UndoLogReader;
}

/** The undo logs of a run, parsed; sources that were never changed have none. Throws `corrupt`, `io`. */
export function openLogs(run: StoredRun): RunLog[] {
  const logs: RunLog[] = [];
  try {
    for (const source of run.record.sources) {
      const path = join(run.folder, source.log);
      if (existsSync(path)) logs.push({ source, path, log: UndoLogReader.open(path) });
    }
    return logs;
  } catch (error) {
    closeLogs(logs);
    throw error;
  }
}

export function closeLogs(logs: readonly RunLog[]): void {
  for (const { log } of logs) log.close();
}

/** Batches whose changes are in the source. */
export function appliedBatches(log: UndoLogReader): Batch[] {
  return log.batches.filter((b) => b.state === "applied");
}

/**
 * The batch that a crash left half-way, in the logs where it still has to be taken back. Sources count as one unit: when one of them is
 * not applied, or is rolled back already, all are taken back.
 */
export function halfBatch(logs: readonly RunLog[]): { readonly entry: RunLog; readonly batch: Batch }[] {
  const sealed = logs.flatMap((entry) => {
    const batch = entry.log.batches.filter((b) => b.state !== "open").at(-1);
    return batch ? [{ entry, batch }] : [];
  });
  const last = Math.max(...sealed.map(({ batch }) => batch.number));
  const unit = sealed.filter(({ batch }) => batch.number === last);
  if (unit.every(({ batch }) => batch.state === "applied")) return [];
  return unit.filter(({ batch }) => batch.state !== "rolled-back");
}
