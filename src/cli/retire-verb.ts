import type { Command } from "commander";
import { collect, type PlainFlags, parseCount } from "./options.ts";
import type { Verb } from "./run-verb.ts";

export interface RetireFlags extends PlainFlags {
  readonly dryRun?: boolean;
  readonly yesDestroy?: readonly string[];
  readonly backing?: readonly string[];
  readonly keepDomain?: boolean;
  readonly luksFromFirstWrite?: boolean;
  readonly iKnow?: boolean;
  readonly connect?: string;
  readonly keyFile?: readonly string[];
  readonly keyFd?: number;
  readonly resume?: string;
  readonly list?: boolean;
  readonly show?: string;
}

/** `retire`: the end of a migration. */
export function addRetire(program: Command, verb: Verb): void {
  program
    .command("retire")
    .description("destroy the old disk of a guest that was migrated, and write the deletion record")
    .argument("[vm:guest]", "the old guest, by its name or UUID, or the migration's run")
    .option("--dry-run", "look at everything, print what would be destroyed and how, change nothing")
    .option(
      "--yes-destroy <name>",
      "do not ask: the name of the disk, as the question wants it (of several: repeat it)",
      collect,
    )
    .option("--backing <image>", "destroy this image below the disk too (repeatable)", collect)
    .option("--keep-domain", "leave the old guest defined; default: it is undefined when its disk is destroyed")
    .option(
      "--luks-from-first-write",
      "the old disk is LUKS and never was anything else: destroy its keys, not all of it",
    )
    .option("--i-know", "although it is not shown that the new guest was started and checked")
    .option("--key-file <file>", "key for encryption inside the old image: FILE, UUID=FILE, or - (repeatable)", collect)
    .option("--key-fd <n>", "read such a key from this file descriptor", parseCount)
    .option("--connect <uri>", "libvirt's connection; default: as virsh")
    .option("--resume <run>", "go on with one that was interrupted")
    .option("--list", "what was destroyed, or is in part")
    .option("--show <run>", "print a deletion record")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nThe whole old disk is read first: it must be the very bytes that were migrated. From the first write on there is no way back.\nExit codes: 0 destroyed · 1 not, or not all · 2 usage, or refused\n\nExample:\n  unterbau retire vm:mail --dry-run\n  unterbau retire vm:mail-plain\n  unterbau retire --show 20261124-101112-ab12",
    )
    .action((guest: string | undefined, flags: RetireFlags) =>
      verb<RetireFlags>(() => import("./verbs/retire.ts"))([guest ?? ""], flags),
    );
}
