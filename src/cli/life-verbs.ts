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
  readonly guestOnly?: boolean;
}

type Verb = <F extends PlainFlags>(
  load: () => Promise<{ run: Run<F> }>,
) => (sources: readonly string[], flags: F) => Promise<void>;

/** The verbs for the daily life of an encrypted guest. */
export function addLifeVerbs(program: Command, verb: Verb): void {
  withKeys(onGuest(program.command("unlock")))
    .description("open and mount what a guest's disks lie on, as /etc/crypttab and /etc/fstab say (as root)")
    .option("--start", "start the guest then")
    .option("--dry-run", "print the commands, do nothing")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nA passphrase that was typed is tried on every volume. What is open already is left alone.\n\nExample:\n  unterbau unlock vm:mail --start\n  unterbau unlock vm:mail --dry-run",
    )
    .action((guest: string, flags: UnlockFlags) =>
      verb<UnlockFlags>(() => import("./verbs/unlock.ts"))([guest], flags),
    );

  addBoot(program, verb);
  addTrim(program, verb);

  onGuest(program.command("lock"))
    .description("shut a guest down, then unmount and close what it lies on (as root)")
    .option("--dry-run", "print the commands, do nothing")
    .option("--guest-only", "shut it down, and leave everything open")
    .option("--timeout <seconds>", "how long the guest may take to shut down", parseCount, 300)
    .option("--force-off", "cut its power when it has not shut down by then")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nWhat another running guest needs stays open. Exit codes: 0 all is closed · 1 something is not · 2 usage\n\nExample:\n  unterbau lock vm:mail",
    )
    .action((guest: string, flags: LockFlags) => verb<LockFlags>(() => import("./verbs/lock.ts"))([guest], flags));
}

export interface TrimFlags extends PlainFlags {
  readonly connect?: string;
  readonly live?: boolean;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt?: boolean;
}

function addTrim(program: Command, verb: Verb): void {
  const trim = program
    .command("trim")
    .description("where TRIM gets to from a guest's file systems, and which layer drops it")
    .addHelpText("after", "\nExample:\n  unterbau trim explain vm:mail\n  unterbau trim run vm:mail");
  const act = (name: string) => (guest: string, flags: TrimFlags) =>
    verb<TrimFlags>(() => import("./verbs/trim.ts"))([name, guest], flags);
  withKeys(onGuest(trim.command("explain")))
    .description("follow TRIM from the guest's mounts to the disk; nothing is changed")
    .option("--live", "look into a running guest, too")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nExit codes: 0 it gets through · 1 a layer drops it\n\nExample:\n  unterbau trim explain vm:mail",
    )
    .action(act("explain"));
  onGuest(trim.command("run"))
    .description("have the guest's agent trim all of its file systems now")
    .option("--json", "one JSON document")
    .addHelpText("after", "\nExample:\n  unterbau trim run vm:mail")
    .action(act("run"));
}

function withKeys(command: Command): Command {
  return command
    .option("--key-file <file>", "key for LUKS: FILE, UUID=FILE, or - for stdin (repeatable)", collect)
    .option("--key-fd <n>", "read a key from this file descriptor", parseCount)
    .option("--no-prompt", "never ask for a passphrase on the terminal");
}

export interface BootFlags extends PlainFlags {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly connect?: string;
  readonly root: string;
  readonly keyFile?: string;
  readonly tpm2?: boolean;
  readonly netdev?: boolean;
  readonly discard?: boolean;
}

function addBoot(program: Command, verb: Verb): void {
  const boot = program
    .command("boot")
    .description("have a guest started at the host's boot, when its volumes are unlocked")
    .addHelpText(
      "after",
      "\nExample:\n  unterbau boot status vm:mail\n  unterbau boot enable vm:mail --dry-run\n  unterbau boot disable vm:mail",
    );
  const action = (name: "enable" | "disable" | "status", description: string) => {
    const command = onGuest(boot.command(name))
      .description(description)
      .option("--root <dir>", "the host's tables and units are in this tree", "/")
      .option("--json", "one JSON document")
      .addHelpText("after", `\nExample:\n  unterbau boot ${name} vm:mail`)
      .action((guest: string, flags: BootFlags) =>
        verb<BootFlags>(() => import("./verbs/boot.ts"))([name, guest], flags),
      );
    return name === "status"
      ? command
      : command
          .option("--dry-run", "show what would be changed, change nothing")
          .option("-y, --yes", "do not ask before tables of the host are edited");
  };
  action(
    "enable",
    "write a unit for the guest, and what /etc/crypttab lacks; libvirt's own autostart is turned off (as root)",
  )
    .option("--key-file <file>", "new lines of crypttab: this key file opens them, without a passphrase")
    .option("--tpm2", "new lines of crypttab: the TPM opens them (systemd-cryptenroll)")
    .option("--netdev", "new lines of crypttab: they need the network (Tang, iSCSI)")
    .option("--discard", "new lines of crypttab: TRIM reaches the disk");
  action("disable", "take back exactly what enable wrote (as root)");
  action("status", "what will happen at the next boot, and what will not");
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
