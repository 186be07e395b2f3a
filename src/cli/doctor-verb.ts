import type { Command } from "commander";
import type { PlainFlags } from "./options.ts";
import type { Verb } from "./run-verb.ts";

export function addDoctor(program: Command, verb: Verb): void {
  program
    .command("doctor")
    .description("which outside programs are here, what is lost without each, and what killed commands have left")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nExit code 1: something is missing without which nothing can be checked, or something is left behind.\n\nExample:\n  unterbau doctor\n  unterbau doctor --json | jq '.items[] | select(.ok | not)'",
    )
    .action((flags: PlainFlags) => verb<PlainFlags>(() => import("./verbs/doctor.ts"))([], flags));
}
