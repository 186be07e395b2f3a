import { type Command, Option } from "commander";
import { type NewLuksFlags, withNewLuks } from "./luks-options.ts";
import { collect, type PlainFlags, parseBytes, parseCount } from "./options.ts";
import type { Verb } from "./run-verb.ts";

export interface HeaderFlags extends PlainFlags {
  readonly to?: string;
  readonly from?: string;
  readonly force?: boolean;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt?: boolean;
}

export interface MigrateFlags extends PlainFlags, NewLuksFlags {
  readonly to?: string;
  readonly toFile?: readonly string[];
  readonly toDevice?: readonly string[];
  readonly disk?: readonly string[];
  readonly libvirtLuks?: boolean;
  readonly mapped?: string;
  readonly name?: string;
  readonly replace?: boolean;
  readonly allowDiscards?: boolean;
  readonly overwrite?: boolean;
  readonly repair?: boolean;
  readonly rate?: number;
  readonly checkerTimeout: number;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt: boolean;
  readonly connect?: string;
  readonly shutdown?: boolean;
  readonly timeout: number;
  readonly forceOff?: boolean;
  readonly dryRun?: boolean;
  readonly resume?: string;
  readonly rollback?: string;
  readonly list?: boolean;
  readonly force?: boolean;
}

/** `migrate`: a guest onto encrypted storage. */
export function addMigrate(program: Command, verb: Verb): void {
  withNewLuks(plain(program.command("migrate")))
    .description("move a shut off guest's disks into new LUKS containers, and define a guest on them")
    .argument("[vm:guest]", "a libvirt guest, by its name or UUID")
    .addOption(
      new Option(
        "--to <group[/volume]>",
        "a new logical volume, LUKS2, which the host opens; default name: GUEST-luks; of further disks VOLUME-DISK",
      ).conflicts(["toFile", "toDevice", "overwrite"]),
    )
    .addOption(
      new Option(
        "--to-file <path>",
        "a new file, LUKS1, which QEMU decrypts with a secret of libvirt's; of several disks DISK=PATH for each",
      )
        .argParser(collect)
        .conflicts("toDevice"),
    )
    .option("--to-device <device>", "a block device, LUKS2, which the host opens; or DISK=DEVICE for each", collect)
    .option("--disk <disk>", "move only this disk (vda, repeatable); default: all that the guest can write to", collect)
    .option("--libvirt-luks", "with --to or --to-device: LUKS1, which QEMU decrypts")
    .option(
      "--mapped <name>",
      "with --to or --to-device: its name below /dev/mapper; default: the new guest's, of further disks NAME-DISK",
    )
    .option("--name <name>", "what the new guest is called; default: GUEST-luks")
    .option("--replace", "the new guest takes the old one's name and addresses; the old one becomes GUEST-plain")
    .option("--allow-discards", "let the guest's discards through: who sees the storage sees what is free")
    .option("--overwrite", "what an existing device holds may be lost")
    .option("--repair", "repair file systems in the copy; without it a guest that is not clean is refused")
    .option("--rate <bytes>", "copy at most so many bytes a second (50M)", parseBytes)
    .option("--checker-timeout <seconds>", "end a checker that runs longer than this", parseCount, 3600)
    .option("--key-file <file>", "key for LUKS inside the guest: FILE, UUID=FILE, or - (repeatable)", collect)
    .option("--key-fd <n>", "read such a key from this file descriptor", parseCount)
    .option("--no-prompt", "never ask for a passphrase on the terminal")
    .option("--connect <uri>", "libvirt's connection; default: as virsh")
    .option("--shutdown", "shut the guest down first (ACPI)")
    .option("--timeout <seconds>", "with --shutdown: how long it may take", parseCount, 300)
    .option("--force-off", "with --shutdown: cut its power when it has not shut down by then")
    .option("--dry-run", "look at everything, print the steps, change nothing")
    .option("--resume <run>", "go on with a migration that was interrupted")
    .option("--rollback <run>", "take all of a migration back")
    .option("--force", "with --rollback: also one that is done; what the new guest wrote is lost")
    .option("--list", "the migrations that are known, and where each stands")
    .addHelpText(
      "after",
      "\nThe old guest and its disk stay; libvirt's XML of both says that only the new one may be started.\n\nExamples:\n  unterbau migrate vm:mail --to vg0 --dry-run\n  unterbau migrate vm:mail --to vg0/mail --replace --recovery-key\n  unterbau migrate vm:mail --to-file /srv/mail.luks\n  unterbau migrate vm:mail --to-device vda=/dev/sdx --to-device vdb=/dev/sdy\n  unterbau migrate --resume 20261124-101112-ab12",
    )
    .action((guest: string | undefined, flags: MigrateFlags) =>
      verb<MigrateFlags>(() => import("./verbs/migrate.ts"))([guest ?? ""], flags),
    );
}

/** The verbs that make, keep and end LUKS containers. */
export function addHeader(program: Command, verb: Verb): void {
  const header = program
    .command("header")
    .description("backups of LUKS headers: without its header nobody opens a container again, with any key");
  const run = (action: string) => (names: string | string[], flags: HeaderFlags) =>
    verb<HeaderFlags>(() => import("./verbs/header.ts"))([action, ...[names].flat()], flags);
  plain(header.command("backup"))
    .description("copy the headers of devices or files, with a record of each")
    .argument("<device...>", "block devices or files that begin with a LUKS header")
    .option("--to <dir>", "put them into this folder; default: the state folder")
    .addHelpText(
      "after",
      "\nWhoever has a backup and an old passphrase opens the container, whatever was changed since: keep it as safe.\n\nExample:\n  unterbau header backup /dev/vg/mail --to /media/stick",
    )
    .action(run("backup"));
  plain(header.command("verify"))
    .description("restore backups into files of their own, and show that each unlocks and is its device's header")
    .argument("[backup...]", "backups, devices or UUIDs; default: all that are known")
    .option("--key-file <file>", "key for LUKS: FILE, UUID=FILE, or - for stdin (repeatable)", collect)
    .option("--key-fd <n>", "read a key from this file descriptor", parseCount)
    .option("--no-prompt", "never ask for a passphrase on the terminal")
    .addHelpText(
      "after",
      "\nExit codes: 0 every one is whole and unlocks · 1 one does not, or that was not shown · 2 usage\n\nExample:\n  unterbau header verify /dev/vg/mail",
    )
    .action(run("verify"));
  plain(header.command("restore"))
    .description("put a backup's header on its device again; undo brings the present one back")
    .argument("<device>", "block device or file")
    .option("--from <backup>", "this backup; default: the newest of the device")
    .option("--force", "although UUID or size are others, or something else lies there")
    .addHelpText("after", "\nExample:\n  unterbau header restore /dev/vg/mail")
    .action(run("restore"));
  plain(header.command("list"))
    .description("where backups are, of which headers, and whether the devices still have these")
    .argument("[device...]", "only those of these devices, UUIDs or paths")
    .addHelpText("after", "\nExample:\n  unterbau header list\n  unterbau header list /dev/vg/mail --json")
    .action(run("list"));
}

function plain(command: Command): Command {
  return command.option("--json", "one JSON document").option("--debug", "show stack traces");
}
