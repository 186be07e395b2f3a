import { type Command, Option } from "commander";
import { withNewLuks } from "./luks-options.ts";
import {
  type CheckFlags,
  type ConvertFlags,
  type ExecFlags,
  type ExportFlags,
  type ListGuestsFlags,
  parseBytes,
  parseCount,
  type ReadFlags,
  type SourceFlags,
  withSources,
  withVolume,
} from "./options.ts";
import { CHECK_CODES, type Verb } from "./run-verb.ts";

export function addList(program: Command, verb: Verb): void {
  program
    .command("list")
    .description(
      "every libvirt guest with its disks, what they rest on, encryption and last verdict; nothing is written",
    )
    .option("--connect <uri>", "libvirt's connection; default: as virsh")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExample:\n  unterbau list\n  unterbau list --connect qemu:///session --json")
    .action((flags: ListGuestsFlags) => verb<ListGuestsFlags>(() => import("./verbs/list.ts"))([], flags));
}

export function addInspect(program: Command, verb: Verb): void {
  withSources(program.command("inspect"))
    .description("show every layer as one tree; nothing is written")
    .option("--long", "all that is known of every layer")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nExample:\n  unterbau inspect os43.qcow2\n  unterbau inspect disk1.raw disk2.raw --key-file backup.key --json",
    )
    .action(verb<SourceFlags & { long?: boolean }>(() => import("./verbs/inspect.ts")));
}

export function addRead(program: Command, verb: Verb): void {
  withVolume(withSources(program.command("read")), false)
    .description("write a volume's raw bytes to stdout")
    .usage("<source...> --volume <selector> [options]")
    .option("--offset <n>", "start at this byte (512, 64K, 2G)", parseBytes)
    .option("--length <n>", "so many bytes", parseBytes)
    .addHelpText("after", "\nExample:\n  unterbau read os43.qcow2 --volume lvg1/lvroot > lvroot.raw")
    .action(verb<ReadFlags>(() => import("./verbs/read.ts")));
}

export function addCheck(program: Command, verb: Verb): void {
  withVolume(withSources(program.command("check")), true)
    .description("forced check of every file system found; nothing is written without --repair")
    .option("--repair", "commit what the preview would change; prints a run id for undo")
    .option("--preen", "only the safe automatic repairs (e2fsck -p)")
    .option("--force", "with --repair: commit even when errors are left")
    .option("--xfs-zero-log", "throw away an XFS log that only a mount could replay, and repair without it")
    .option("--checker-timeout <seconds>", "end a checker that runs longer than this", parseCount, 3600)
    .addOption(
      new Option("--live", "check vm:GUEST as it is in one instant, while it runs").conflicts(["shutdown", "repair"]),
    )
    .option("--quiesce", "with --live: have its agent freeze its file systems for that instant")
    .option("--scratch <dir>", "with --live: where what it overwrites goes, in memory or encrypted; default: memory")
    .addOption(
      new Option(
        "--via <way>",
        "with --live: libvirt's backup, or snapshots of the host's raw logical volumes (as root); default: what can be done",
      ).choices(["backup", "lvm-snapshot"]),
    )
    .option("--snapshot-size <n>", "with --via lvm-snapshot: room for what it overwrites; default: a tenth", parseBytes)
    .option("--shutdown", "shut vm:GUEST down (ACPI) and start it again when all is clean or repaired")
    .option("--timeout <seconds>", "with --shutdown: how long the guest may take", parseCount, 300)
    .option("--force-off", "with --shutdown: cut its power when it has not shut down by then")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nExit codes as fsck(8), OR-ed over the volumes:\n  0 clean · 1 repaired · 4 errors left (or, in a preview, found) · 8 not checked · 16 usage · 32 cancelled\n\nExample:\n  unterbau check os43.qcow2\n  unterbau check os43.qcow2 --volume lvg1/lvroot --repair\n  unterbau check vm:os43 --shutdown --repair",
    )
    .action(verb<CheckFlags>(() => import("./verbs/check.ts"), CHECK_CODES));
}

/** `tool`: what stood behind `--`. */
export function addExec(program: Command, verb: Verb, tool: readonly string[]): void {
  withVolume(withSources(program.command("exec")), false)
    .description("run any tool on a volume shown as a file; {} stands for the file")
    .usage("<source...> --volume <selector> [options] -- <tool> [argument...]")
    .option("--write", "commit what the tool changes; without it changes go to an overlay and are lost")
    .option("--force", "with --write: commit even when the tool fails")
    .showHelpAfterError("hint: the tool stands behind --, as in: unterbau exec DISK --volume VOLUME -- tune2fs -l {}")
    .addHelpText("after", "\nExample:\n  unterbau exec os43.qcow2 --volume lvg1/lvroot -- tune2fs -l {}")
    .action((sources: string[], flags: ExecFlags) =>
      verb<ExecFlags>(() => import("./verbs/exec.ts"))(sources, { ...flags, command: tool }),
    );
}

export function addExport(program: Command, verb: Verb): void {
  withVolume(withSources(program.command("export")), false)
    .description("hand a volume to other programs until interrupted")
    .usage("<source...> --volume <selector> (--nbd <socket> | --fuse <file>) [options]")
    .addOption(new Option("--nbd <socket>", "serve it over NBD on this unix socket").conflicts("fuse"))
    .addOption(new Option("--fuse <file>", "show it as this file"))
    .option("--write", "let them write; every flush is committed, undo takes all of it back")
    .addHelpText(
      "after",
      "\nExample:\n  unterbau export os43.qcow2 --volume lvg1/lvroot --nbd /tmp/lvroot.sock &\n  qemu-img info 'nbd+unix:///?socket=/tmp/lvroot.sock'",
    )
    .action(verb<ExportFlags>(() => import("./verbs/export.ts")));
}

export function addConvert(program: Command, verb: Verb): void {
  withNewLuks(withSources(program.command("convert")))
    .description("copy a disk or a volume into a new image, a block device, or a new or existing LUKS container")
    .usage("<source...> <target> [options]")
    .option("--volume <selector>", "copy this volume; default: the whole disk as the guest sees it")
    .addOption(
      new Option("--to <format>", "what the target becomes; default: qcow2 for names that end so, else raw").choices([
        "raw",
        "qcow2",
        "luks",
      ]),
    )
    .addOption(
      new Option("--to-luks", "the target becomes a new file with a new LUKS container in it").conflicts([
        "to",
        "overwrite",
      ]),
    )
    .option("--overwrite", "what an existing device or container holds may be lost")
    .option("--verify", "read all of it back and compare")
    .option("--json", "one JSON document")
    .addHelpText(
      "after",
      "\nThe same command again continues a copy that was interrupted.\n\nExamples:\n  unterbau convert os43.qcow2 os43.raw --verify\n  unterbau convert os43.qcow2 /dev/vg/os43-crypt --to luks --target-key-file os43.key\n  unterbau convert os43.qcow2 os43.luks --to-luks --target-key-file os43.key --verify",
    )
    .action(verb<ConvertFlags>(() => import("./verbs/convert.ts")));
}
