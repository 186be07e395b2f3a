import type { Command } from "commander";
import { type PlainFlags, type PlanFlags, withSources, withVolume } from "./options.ts";
import { CHECK_CODES, type Verb } from "./run-verb.ts";

export function addPlan(program: Command, verb: Verb): void {
  withKernel(program.command("plan"))
    .description("print, as a shell script, how this host's kernel is led to the volumes, and back")
    .option("--json", "the steps as one JSON document")
    .addHelpText(
      "after",
      "\nNothing is opened by the kernel, and nothing is changed: the script does that.\n\nExample:\n  unterbau plan os43.qcow2 --volume lvg1/lvroot > os43.sh\n  unterbau plan /dev/volssd10/kvmos --inside /os43.qcow2 --repair",
    )
    .action(verb<PlanFlags>(() => import("./verbs/plan.ts")));
}

export function addRunPlan(program: Command, verb: Verb): void {
  withKernel(program.command("run-plan"))
    .description("do what plan prints, with this host's kernel, and take all of it down again (as root)")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nAfter a crash, `unterbau recover` takes down what is left.\nExit codes as fsck(8): 0 clean · 1 repaired · 4 errors left · 8 something failed or is left · 16 usage · 32 cancelled\n\nExample:\n  unterbau run-plan os43.qcow2 --volume lvg1/lvroot --repair",
    )
    .action(verb<PlanFlags>(() => import("./verbs/run-plan.ts"), CHECK_CODES));
}

export function addRecover(program: Command, verb: Verb): void {
  program
    .command("recover")
    .description("take down what a run-plan left that was killed, in reverse order (as root)")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nA repair that was cut off needs none: the next command on its source takes it back.\n\nExample:\n  unterbau recover",
    )
    .action((flags: PlainFlags) => verb<PlainFlags>(() => import("./verbs/recover.ts"))([], flags));
}

/** The options that plan and run-plan have in common. */
function withKernel(command: Command): Command {
  return withVolume(withSources(command), true)
    .option("--repair", "open for writing, and let the checkers repair; without it all is read-only")
    .option("--rename", "open volume groups under other names even where theirs are free on this host");
}
