import type { Command } from "commander";
import type { Run } from "./main.ts";
import { collect, type PlainFlags, parseCount } from "./options.ts";

export interface HeaderFlags extends PlainFlags {
  readonly to?: string;
  readonly from?: string;
  readonly force?: boolean;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly prompt?: boolean;
}

type Verb = <F extends PlainFlags>(
  load: () => Promise<{ run: Run<F> }>,
) => (sources: readonly string[], flags: F) => Promise<void>;

/** The verbs that make, keep and end LUKS containers. */
export function addLuksVerbs(program: Command, verb: Verb): void {
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
