import { type Command, InvalidArgumentError } from "commander";
import { collect, type PlainFlags, parseCount } from "./options.ts";
import { CHECK_CODES, type Verb } from "./run-verb.ts";

export interface UnlockFlags extends PlainFlags {
  readonly start?: boolean;
  readonly dryRun?: boolean;
  readonly connect?: string;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt: boolean;
  readonly askPassword?: boolean;
}

export interface LockFlags extends PlainFlags {
  readonly dryRun?: boolean;
  readonly connect?: string;
  readonly timeout: number;
  readonly forceOff?: boolean;
  readonly guestOnly?: boolean;
}

export function addUnlock(program: Command, verb: Verb): void {
  withKeys(onGuest(program.command("unlock")))
    .description(
      "open and mount what a guest's disks lie on, as /etc/crypttab and /etc/fstab say (as root); give libvirt the passphrases of disks that QEMU decrypts",
    )
    .option("--start", "start the guest then")
    .option(
      "--ask-password",
      "ask through systemd-ask-password: on the console, or over SSH by systemd-tty-ask-password-agent",
    )
    .option("--dry-run", "print the commands, do nothing")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nA passphrase that was typed is tried on every volume. What is open already is left alone.\n\nExample:\n  unterbau unlock vm:mail --start\n  unterbau unlock vm:mail --dry-run",
    )
    .action((guest: string, flags: UnlockFlags) =>
      verb<UnlockFlags>(() => import("./verbs/unlock.ts"))([guest], flags),
    );
}

export function addLock(program: Command, verb: Verb): void {
  onGuest(program.command("lock"))
    .description(
      "shut a guest down, then take its passphrases from libvirt, unmount and close what it lies on (as root)",
    )
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

export function addTrim(program: Command, verb: Verb): void {
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

export interface BackupFlags extends PlainFlags {
  readonly connect?: string;
  readonly to?: string;
  readonly from?: string;
  readonly id?: string;
  readonly content?: boolean;
  readonly live?: boolean;
  readonly scratch?: string;
  readonly plaintext?: boolean;
  readonly repoPasswordFile?: string;
  readonly checkerTimeout?: number;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt?: boolean;
}

const PLACE = "DIR, restic:REPO or borg:REPO";

export function addBackup(program: Command, verb: Verb): void {
  const load = () => import("./verbs/backup.ts");
  const inRepository = (command: Command) =>
    command
      .option(
        "--repo-password-file <file>",
        "password of the repository, read by restic or borg; default: as they find it",
      )
      .option("--json", "one JSON document");
  const own = inRepository(onGuest(program.command("backup")))
    .description("back up a guest's disks as they are encrypted, with LUKS headers, XML and firmware variables")
    .usage("[options] <vm:guest> | backup list --from PLACE | backup verify <vm:guest> --from PLACE")
    // What stands behind list and verify is theirs.
    .enablePositionalOptions()
    .option("--to <place>", PLACE)
    .option("--content", "what the guest sees, also where the host encrypts it")
    .option("--live", "of a running guest, as it is in one instant")
    .option("--scratch <dir>", "with --live: where what it overwrites goes, in memory or encrypted; default: memory")
    .option("--plaintext", "let what is encrypted on this host lie in the clear in the backup")
    .addHelpText(
      "after",
      "\nA backup that was cut off is never listed, and nothing is restored from it.\n\nExample:\n  unterbau backup vm:mail --to restic:/srv/repo --repo-password-file /root/repo.pw\n  unterbau backup list --from /srv/backup\n  unterbau backup verify vm:mail --from /srv/backup --key-file mail.key",
    )
    .action((guest: string, flags: BackupFlags) => verb<BackupFlags>(load)(["make", guest], flags));
  inRepository(own.command("list"))
    .description("the whole backups in a place, and which were cut off")
    .requiredOption("--from <place>", PLACE)
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExample:\n  unterbau backup list --from /srv/backup")
    .action((flags: BackupFlags) => verb<BackupFlags>(load)(["list"], flags));
  inRepository(withKeys(own.command("verify")))
    .description("read a backup back, compare its hashes, check its file systems on an overlay")
    .argument("<vm:guest>", "the guest that was backed up; it need not be there any more", guestName)
    .requiredOption("--from <place>", PLACE)
    .option("--id <id>", "this backup; default: the newest")
    .option(
      "--scratch <dir>",
      "where a repository's disks are restored to for it; default: memory, for ciphertext /tmp",
    )
    .option("--checker-timeout <seconds>", "end a checker that runs longer than this", parseCount, 3600)
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nExit codes as fsck(8): 0 clean · 4 errors found · 8 not checked, or not what was backed up · 16 usage\n\nExample:\n  unterbau backup verify vm:mail --from restic:/srv/repo --key-file mail.key",
    )
    .action((guest: string, flags: BackupFlags) => verb<BackupFlags>(load, CHECK_CODES)(["verify", guest], flags));
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

export function addBoot(program: Command, verb: Verb): void {
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
    .argument("<vm:guest>", "a libvirt guest, by its name or UUID", guestName)
    .option("--connect <uri>", "libvirt's connection; default: as virsh")
    .option("--debug", "show stack traces");
}

function guestName(text: string): string {
  if (!/^vm:./.test(text)) throw new InvalidArgumentError(`a guest is named vm:NAME, such as vm:${text || "mail"}`);
  return text.slice("vm:".length);
}
