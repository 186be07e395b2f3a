import { type Command, Option } from "commander";
import { parseCount, type RunsFlags, type UndoFlags } from "./options.ts";
import type { Verb } from "./run-verb.ts";

export function addUndo(program: Command, verb: Verb): void {
  program
    .command("undo")
    .description("take a repair back, byte for byte")
    .argument("<run>", "the run's id, or a beginning of it that is unique")
    .option("--force", "even if the source changed since (what changed is lost)")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExample:\n  unterbau undo 20261124-041530-k3f9")
    .action((id: string, flags: UndoFlags) => verb<UndoFlags>(() => import("./verbs/undo.ts"))([id], flags));
}

export function addRuns(program: Command, verb: Verb): void {
  program
    .command("runs")
    .description("list the runs that changed something, with their verdicts; accept or remove them")
    .addOption(
      new Option("--accept <run>", "keep what this run changed for good: its undo logs are deleted").conflicts("prune"),
    )
    .option(
      "--prune <days>",
      "remove runs (with their undo logs) and last verdicts of disks that are older than so many days",
      parseCount,
    )
    .option("-y, --yes", "do not ask before an undo becomes impossible")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExample:\n  unterbau runs --accept k3f9\n  unterbau runs --prune 90 --yes")
    .action((flags: RunsFlags) => verb<RunsFlags>(() => import("./verbs/runs.ts"))([], flags));
}
