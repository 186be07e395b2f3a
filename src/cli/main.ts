import { Command, CommanderError } from "commander";
import { addAudit } from "./audit-verbs.ts";
import { addDoctor } from "./doctor-verb.ts";
import { addEgress } from "./egress-verbs.ts";
import { addCat, addCp, addLs, addMount, addUmount } from "./file-verbs.ts";
import { addBackup, addBoot, addLock, addTrim, addUnlock } from "./life-verbs.ts";
import { addHeader, addMigrate } from "./luks-verbs.ts";
import { columns, STDERR, STDOUT, wantsColour, write } from "./output.ts";
import { addPlan, addRecover, addRunPlan } from "./plan-verbs.ts";
import { addReport } from "./report-verbs.ts";
import { addRetire } from "./retire-verb.ts";
import { CHECK_CODES, OTHER_CODES, type Verb, VerbRunner } from "./run-verb.ts";
import { addCheck, addConvert, addExec, addExport, addInspect, addList, addRead } from "./source-verbs.ts";
import { addRuns, addUndo } from "./undo-verbs.ts";
import { VERSION } from "./version.ts";

/** In the order of --help. `tool`: what stood behind `--`, for exec. */
const VERBS: Record<string, (program: Command, verb: Verb, tool: readonly string[]) => void> = {
  list: addList,
  inspect: addInspect,
  read: addRead,
  check: addCheck,
  undo: addUndo,
  runs: addRuns,
  exec: addExec,
  export: addExport,
  convert: addConvert,
  ls: addLs,
  cat: addCat,
  cp: addCp,
  mount: addMount,
  umount: addUmount,
  plan: addPlan,
  "run-plan": addRunPlan,
  recover: addRecover,
  unlock: addUnlock,
  boot: addBoot,
  trim: addTrim,
  backup: addBackup,
  lock: addLock,
  header: addHeader,
  migrate: addMigrate,
  audit: addAudit,
  egress: addEgress,
  report: addReport,
  retire: addRetire,
  doctor: addDoctor,
};

function newProgram(): Command {
  return new Command("unterbau")
    .configureOutput({
      writeOut: (text) => write(text),
      writeErr: (text) => write(text, STDERR),
      getOutHelpWidth: () => columns(STDOUT) ?? 80,
      getErrHelpWidth: () => columns(STDERR) ?? 80,
      getOutHasColors: () => wantsColour(STDOUT),
      getErrHasColors: () => wantsColour(STDERR),
    })
    .description("The storage under KVM guests: inspect, check, repair and undo, from the host, without root.")
    .version(VERSION, "-V, --version")
    .showHelpAfterError("(unterbau --help lists the verbs, unterbau VERB --help explains one)")
    .configureHelp({ sortSubcommands: false })
    .enablePositionalOptions();
}

/** Does what the arguments say; the exit code is left in process.exitCode. Called once, by the launcher. */
export async function main(argv: readonly string[]): Promise<void> {
  // What stands after `--` belongs to the tool, also when it looks like an option of ours.
  const split = argv[0] === "exec" ? argv.indexOf("--") : -1;
  const own = split >= 0 ? argv.slice(0, split) : argv;
  const runner = new VerbRunner();
  const program = newProgram();
  for (const define of wanted(own[0])) define(program, runner.verb, split >= 0 ? argv.slice(split + 1) : []);
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  for (const command of all(program)) command.exitOverride();
  try {
    await program.parseAsync([...own], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    runner.exitCode = error.exitCode === 0 ? 0 : (usesFsckCodes(argv) ? CHECK_CODES : OTHER_CODES).usage;
  }
  process.exitCode = runner.exitCode;
}

/** Only the verb that is named, or none for --version, which stands alone: to define all of them takes longer than some of them run. */
function wanted(first: string | undefined): readonly (typeof VERBS)[string][] {
  if (first === "-V" || first === "--version") return [];
  if (first !== undefined && Object.hasOwn(VERBS, first)) return [VERBS[first]!];
  return Object.values(VERBS);
}

function usesFsckCodes([verb, action]: readonly string[]): boolean {
  return verb === "check" || verb === "run-plan" || verb === "audit" || (verb === "backup" && action === "verify");
}
