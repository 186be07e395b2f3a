import { type Command, InvalidArgumentError } from "commander";
import type { Run } from "./main.ts";
import { collect, type PlainFlags, parseCount } from "./options.ts";

export interface UnlockFlags extends PlainFlags {
  readonly start?: boolean;
  readonly dryRun?: boolean;
  readonly connect?: string;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt: boolean;
}

export interface LockFlags extends PlainFlags {
  readonly dryRun?: boolean;
  readonly connect?: string;
  readonly timeout: number;
  readonly forceOff?: boolean;
}

type Verb = <F extends PlainFlags>(
  load: () => Promise<{ run: Run<F> }>,
) => (sources: readonly string[], flags: F) => Promise<void>;

/** The verbs for the daily life of an encrypted guest. */
export function addLifeVerbs(program: Command, verb: Verb): void {
  onGuest(program.command("unlock"))
    .description("open and mount what a guest's disks lie on, as /etc/crypttab and /etc/fstab say (as root)")
    .option("--start", "start the guest then")
    .option("--dry-run", "print the commands, do nothing")
    .option("--key-file <file>", "key for LUKS: FILE, UUID=FILE, or - for stdin (repeatable)", collect)
    .option("--key-fd <n>", "read a key from this file descriptor", parseCount)
    .option("--no-prompt", "never ask for a passphrase on the terminal")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nA passphrase that was typed is tried on every volume. What is open already is left alone.\n\nExample:\n  unterbau unlock vm:mail --start\n  unterbau unlock vm:mail --dry-run",
    )
    .action((guest: string, flags: UnlockFlags) =>
      verb<UnlockFlags>(() => import("./verbs/unlock.ts"))([guest], flags),
    );

  onGuest(program.command("lock"))
    .description("shut a guest down, then unmount and close what it lies on (as root)")
    .option("--dry-run", "print the commands, do nothing")
    .option("--timeout <seconds>", "how long the guest may take to shut down", parseCount, 300)
    .option("--force-off", "cut its power when it has not shut down by then")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nWhat another running guest needs stays open. Exit codes: 0 all is closed · 1 something is not · 2 usage\n\nExample:\n  unterbau lock vm:mail",
    )
    .action((guest: string, flags: LockFlags) => verb<LockFlags>(() => import("./verbs/lock.ts"))([guest], flags));
}

function onGuest(command: Command): Command {
  return command
    .argument("<vm:guest>", "a libvirt guest, by its name or UUID", (text: string) => {
      if (!/^vm:./.test(text)) throw new InvalidArgumentError(`a guest is named vm:NAME, such as vm:${text || "mail"}`);
      return text.slice("vm:".length);
    })
    .option("--connect <uri>", "libvirt's connection; default: as virsh")
    .option("--debug", "show stack traces");
}
