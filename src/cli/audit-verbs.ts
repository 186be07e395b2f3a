import { type Command, Option } from "commander";
import { collect, type PlainFlags, parseCount } from "./options.ts";
import { CHECK_CODES, type Verb } from "./run-verb.ts";

export interface AuditFlags extends PlainFlags {
  readonly root?: readonly string[];
  readonly asOf?: string;
  readonly record?: string;
  readonly policy?: string;
  readonly scope?: string;
  readonly connect?: string;
  readonly mail?: readonly string[];
  readonly live?: boolean;
  readonly timeout?: number;
  readonly keyFile?: readonly string[];
  readonly lang?: "de" | "en";
  readonly keep?: boolean;
  readonly sample?: boolean;
  readonly diff?: string;
}

export interface AuditRunsFlags extends PlainFlags {
  readonly allowedSigners?: string;
  readonly key?: string;
}

/** What measures a host. Its failures have exit codes that are not taken for a verdict. */
export function addAudit(program: Command, verb: Verb): void {
  const command = program
    .command("audit")
    .description("measure how the data of this host's guests are protected; nothing is changed (as root)")
    .argument("[guest...]", "vm:NAME or vm:UUID; default: all guests")
    .option(
      "--root <dir>",
      "a recorded or mounted host instead of this one (repeatable: the first lies over the others)",
      collect,
    )
    .option("--as-of <time>", "with --root: judge the recorded host as of then (2026-11-24T06:00:00Z)")
    .option("--record <dir>", "write all that was read to this new folder, for --root; secrets are taken out")
    .option("--policy <file>", "thresholds (YAML or JSON) that replace built-in ones")
    .option("--scope <file>", "what is declared of this host (YAML): guests, keyslots, backups …")
    .option("--connect <uri>", "libvirt's connection; default: qemu:///system")
    .option(
      "--mail <guest>",
      "read the mail configuration in this guest's /etc: vm:NAME, or vm:NAME:VOLUME (repeatable); it is not booted",
      collect,
    )
    .option("--live", "with --mail: look into running guests too, by a backup of libvirt's")
    .option("--key-file <file>", "key for LUKS inside guests: FILE, UUID=FILE (repeatable)", collect)
    .option(
      "--sample",
      "read 4 MiB of each encrypted device below and above its encryption: is what is stored like random bytes?",
    )
    .option("--timeout <seconds>", "end a program of this host's that runs longer than this", parseCount, 30)
    .option("--no-keep", "leave no evidence: the run is not added to the chain in the state folder")
    .option("--diff <run>", "say what changed since that run")
    .addOption(new Option("--lang <language>", "default: as LANG says").choices(["de", "en"]))
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nExit codes: 0 pass · 1 warn, or something is unknown · 2 fail · 8 the audit itself failed · 16 usage · 32 cancelled\n\nExample:\n  unterbau audit\n  unterbau audit vm:mail --lang de\n  unterbau audit --record host-a && unterbau audit --root host-a --json",
    )
    .action((guests: string[], flags: AuditFlags) =>
      verb<AuditFlags>(() => import("./verbs/audit.ts"), CHECK_CODES)(guests, flags),
    );
  addRuns(command, verb);
}

/** The runs that were kept. */
function addRuns(audit: Command, verb: Verb): void {
  const act = (name: string) => (run: string | readonly string[] | undefined, flags: AuditRunsFlags) =>
    verb<AuditRunsFlags>(() => import("./verbs/audit-runs.ts"), CHECK_CODES)([name, ...[run ?? []].flat()], flags);
  const plain = (command: Command) =>
    command.option("--json", "one JSON document").option("--debug", "show stack traces");
  plain(audit.command("verify"))
    .description("walk the chain of all runs: is every manifest, output and link as it was made?")
    .argument("[run...]", "look into these only; the chain is walked in any case")
    .option("--allowed-signers <file>", "who may sign (ssh-keygen(1), ALLOWED SIGNERS)")
    .addHelpText(
      "after",
      "\nExit codes: 0 all is as it was made · 1 something is not\n\nExample:\n  unterbau audit verify --allowed-signers signers",
    )
    .action(act("verify"));
  plain(audit.command("sign"))
    .description("sign a run's manifest with an SSH key")
    .argument("<run>", "the run's id, or a beginning of it that is unique")
    .requiredOption("--key <file>", "a private SSH key, or the public one of an agent's")
    .addHelpText("after", "\nExample:\n  unterbau audit sign 20261124-201500-3f2a --key ~/.ssh/id_ed25519")
    .action(act("sign"));
  plain(audit.command("list"))
    .description("the runs that were kept, and the room that they take")
    .addHelpText("after", "\nExample:\n  unterbau audit list")
    .action((flags: AuditRunsFlags) => act("list")(undefined, flags));
  plain(audit.command("policy"))
    .description("print the built-in thresholds, as a file for --policy")
    .addHelpText("after", "\nExample:\n  unterbau audit policy > policy.yaml")
    .action((flags: AuditRunsFlags) => act("policy")(undefined, flags));
}
