import { StorageError } from "../core/errors.ts";
import { recoverSource } from "./recover.ts";
import { isNbd } from "./source-names.ts";
import type { SourceOptions } from "./source-options.ts";

/** A run that crashed while it changed one of the sources is rolled back before anything reads it. Throws `locked` when that cannot be done now. */
export async function recoverFirst(options: SourceOptions): Promise<void> {
  const report = await recoverSource(options.sources.filter((s) => !isNbd(s)));
  if (!report) return;
  for (const finding of report.findings) options.note?.(`${finding.severity}: ${finding.message}`);
  for (const run of report.runs) {
    const about = `run ${run.run} (${run.verb} of ${run.sources.join(", ")}, ${run.started})`;
    if (run.outcome === "rolled-back")
      options.note?.(
        `${about} had been cut off in the middle of its commit; it was taken back: the disk is as before that`,
      );
    else if (run.outcome === "undo-completed")
      options.note?.(`the undo of ${about} had been cut off; it is complete now`);
    else if (run.outcome === "refused" || run.outcome === "blocked") {
      throw new StorageError(
        "locked",
        `${about} was cut off in the middle of its commit and cannot be taken back now: ${run.reason ?? "unknown"}`,
        {
          layer: "undo-log",
          hint: run.hint ?? `see: unterbau undo ${run.run}`,
        },
      );
    }
  }
}
