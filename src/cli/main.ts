import { Command, CommanderError, Help } from "commander";
import { addAudit } from "./audit-verbs.ts";
import { addDoctor } from "./doctor-verb.ts";
import { addEgress } from "./egress-verbs.ts";
import { addCat, addCp, addLs, addMount, addUmount } from "./file-verbs.ts";
import { addBackup, addBoot, addLock, addTrim, addUnlock } from "./life-verbs.ts";
import { addHeader, addMigrate } from "./luks-verbs.ts";
import { OWN_OPTIONS } from "./options.ts";
import { columns, STDERR, STDOUT, wantsColour, write } from "./output.ts";
import { addPlan, addRecover, addRunPlan } from "./plan-verbs.ts";
import { addReport } from "./report-verbs.ts";
import { addRetire } from "./retire-verb.ts";
import { CHECK_CODES, OTHER_CODES, type Verb, VerbRunner } from "./run-verb.ts";
import { addCheck, addConvert, addExec, addExport, addInspect, addList, addRead } from "./source-verbs.ts";
import { addRuns, addUndo } from "./undo-verbs.ts";
import { VERSION } from "./version.ts";

/** `tool`: what stood behind `--`, for exec. */
type Define = (program: Command, verb: Verb, tool: readonly string[]) => void;

/** In the order of --help, under its headings. */
const GROUPS: readonly (readonly [heading: string, verbs: Readonly<Record<string, Define>>])[] = [
  [
    "Look, without writing:",
    {
      list: addList,
      inspect: addInspect,
      read: addRead,
      ls: addLs,
      cat: addCat,
      cp: addCp,
      mount: addMount,
      umount: addUmount,
    },
  ],
  [
    "Check, repair, use other tools:",
    { check: addCheck, exec: addExec, export: addExport, runs: addRuns, undo: addUndo },
  ],
  [
    "Copy, encrypt, keep:",
    { convert: addConvert, migrate: addMigrate, retire: addRetire, header: addHeader, backup: addBackup },
  ],
  ["The host under a guest:", { unlock: addUnlock, lock: addLock, boot: addBoot, trim: addTrim }],
  ["With the host's kernel (as root):", { plan: addPlan, "run-plan": addRunPlan, recover: addRecover }],
  ["Data protection:", { audit: addAudit, egress: addEgress, report: addReport }],
  ["This program:", { doctor: addDoctor }],
];

function newProgram(): Command {
  return new Command("unterbau")
    .configureOutput({
      writeOut: (text) => write(text),
      writeErr: (text) => write(text, STDERR),
      outputError: (text, out) => out(asOurs(text)),
      getOutHelpWidth: () => columns(STDOUT) ?? 80,
      getErrHelpWidth: () => columns(STDERR) ?? 80,
      getOutHasColors: () => wantsColour(STDOUT),
      getErrHasColors: () => wantsColour(STDERR),
    })
    .description("The storage under KVM guests: inspect, check, repair and undo, from the host, without root.")
    .version(VERSION, "-V, --version")
    .showHelpAfterError("hint: unterbau --help lists the verbs, unterbau VERB --help explains one")
    .configureHelp({
      sortSubcommands: false,
      subcommandTerm: (command) => command.name(),
      // What belongs to the verb itself comes before what belongs to its sources.
      groupItems: (...args) => new Map([...Help.prototype.groupItems(...args)].sort(ownFirst)),
    })
    .enablePositionalOptions();
}

/** What commander says of a wrong command line, in the form of all other errors. */
function asOurs(text: string): string {
  return text
    .replace(/^error: /, "unterbau: ")
    .replace(/^(unterbau: )command-argument value ('.*') is invalid for argument '.*?'\. /, "$1$2: ")
    .replace(/^(unterbau: )option '(.*?)' argument ('.*') is invalid\. /, "$1$2 $3: ");
}

/** Does what the arguments say; the exit code is left in process.exitCode. Called once, by the launcher. */
export async function main(argv: readonly string[]): Promise<void> {
  // What stands after `--` belongs to the tool, also when it looks like an option of ours.
  const split = argv[0] === "exec" ? argv.indexOf("--") : -1;
  const own = split >= 0 ? argv.slice(0, split) : argv;
  const runner = new VerbRunner();
  const program = newProgram();
  defineVerbs(program, own[0], runner.verb, split >= 0 ? argv.slice(split + 1) : []);
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
function defineVerbs(program: Command, first: string | undefined, verb: Verb, tool: readonly string[]): void {
  if (first === "-V" || first === "--version") return;
  const named = GROUPS.find(([, verbs]) => first !== undefined && Object.hasOwn(verbs, first));
  if (named) {
    named[1][first!]!(program, verb, tool);
    return;
  }
  for (const [heading, verbs] of GROUPS) {
    program.commandsGroup(heading);
    for (const define of Object.values(verbs)) define(program, verb, tool);
  }
}

function ownFirst([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return Number(b === OWN_OPTIONS) - Number(a === OWN_OPTIONS);
}

function usesFsckCodes([verb, action]: readonly string[]): boolean {
  return verb === "check" || verb === "run-plan" || verb === "audit" || (verb === "backup" && action === "verify");
}
