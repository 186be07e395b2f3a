import { Command, CommanderError, Option } from "commander";
import { firstError, ioError, StorageError } from "../core/errors.ts";
import { addAuditVerbs } from "./audit-verbs.ts";
import { addEgressVerbs } from "./egress-verbs.ts";
import { addLifeVerbs } from "./life-verbs.ts";
import { withNewLuks } from "./luks-options.ts";
import { addLuksVerbs, addMigrate } from "./luks-verbs.ts";
import {
  type CheckFlags,
  type ConvertFlags,
  type CopyFlags,
  type ExecFlags,
  type ExportFlags,
  type FilesFlags,
  type ListFlags,
  type ListGuestsFlags,
  type MountFlags,
  type PlainFlags,
  type PlanFlags,
  parseBytes,
  parseCount,
  type ReadFlags,
  type RunsFlags,
  type SourceFlags,
  type UndoFlags,
  withSources,
  withVolume,
} from "./options.ts";
import { columns, onBrokenOutput, reportError, STDERR, STDOUT, wantsColour, write } from "./output.ts";
import { addReportVerbs } from "./report-verbs.ts";
import { addRetire } from "./retire-verb.ts";
import { newSession, type Session } from "./session.ts";
import { VERSION } from "./version.ts";

/** fsck(8): check's exit codes where they differ from the other verbs'. */
const CHECK = { failed: 8, usage: 16, cancelled: 32 };
const OTHER = { failed: 1, usage: 2, cancelled: 130 };

export type Run<F> = (sources: readonly string[], flags: F, session: Session) => Promise<number>;

let exitCode = 0;
const abort = new AbortController();
let interrupts = 0;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => {
    abort.abort(new StorageError("cancelled", "cancelled"));
    // The first one ends the work cleanly; who insists is obeyed.
    if (++interrupts > 2) process.exit(128 + (name === "SIGINT" ? 2 : name === "SIGTERM" ? 15 : 1));
  });
}
/** Why standard output cannot take more; the work ends cleanly then, as after Ctrl-C. */
let broken: NodeJS.ErrnoException | null = null;
onBrokenOutput((error) => {
  broken ??= error;
  abort.abort(new StorageError("cancelled", "cancelled"));
});

/** Runs a verb, loaded only now, and turns what it throws into one line and an exit code. */
function verb<F extends { debug?: boolean }>(
  load: () => Promise<{ run: Run<F> }>,
  codes = OTHER,
): (sources: readonly string[], flags: F) => Promise<void> {
  return async (sources, flags) => {
    try {
      exitCode = await (await load()).run(sources, flags, newSession(abort.signal));
      if (broken) throw broken;
    } catch (error) {
      if (broken) {
        // The reader of a pipe has gone (`unterbau read … | head`): that is no news.
        if (broken.code !== "EPIPE")
          await reportError(ioError(broken, "cannot write to standard output"), flags.debug ?? false);
        exitCode = codes.failed;
        return;
      }
      await reportError(error, flags.debug ?? false);
      const first = firstError(error);
      const code = first instanceof StorageError ? first.code : null;
      exitCode =
        code === "usage" ? codes.usage : code === "cancelled" || abort.signal.aborted ? codes.cancelled : codes.failed;
    }
  };
}

/** The options that plan and run-plan have in common. */
function withKernel(command: Command): Command {
  return withVolume(withSources(command), true)
    .option("--repair", "open for writing, and let the checkers repair; without it all is read-only")
    .option("--rename", "open volume groups under other names even where theirs are free on this host");
}

const toolCommand: string[] = [];

const program = new Command("unterbau")
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

program
  .command("list")
  .description("every libvirt guest with its disks, what they rest on, encryption and last verdict; nothing is written")
  .option("--connect <uri>", "libvirt's connection; default: as virsh")
  .option("--json", "one JSON document")
  .option("--debug", "show stack traces")
  .addHelpText("after", "\nExample:\n  unterbau list\n  unterbau list --connect qemu:///session --json")
  .action((flags: ListGuestsFlags) => verb<ListGuestsFlags>(() => import("./verbs/list.ts"))([], flags));

withSources(program.command("inspect"))
  .description("show every layer as one tree; nothing is written")
  .option("--long", "all that is known of every layer")
  .option("--json", "one JSON document")
  .addHelpText(
    "after",
    "\nExample:\n  unterbau inspect os43.qcow2\n  unterbau inspect disk1.raw disk2.raw --key-file backup.key --json",
  )
  .action(verb<SourceFlags & { long?: boolean }>(() => import("./verbs/inspect.ts")));

withVolume(withSources(program.command("read")), false)
  .description("write a volume's raw bytes to stdout")
  .option("--offset <n>", "start at this byte (512, 64K, 2G)", parseBytes)
  .option("--length <n>", "so many bytes", parseBytes)
  .addHelpText("after", "\nExample:\n  unterbau read os43.qcow2 --volume lvg1/lvroot > lvroot.raw")
  .action(verb<ReadFlags>(() => import("./verbs/read.ts")));

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
  .action(verb<CheckFlags>(() => import("./verbs/check.ts"), CHECK));

program
  .command("undo")
  .description("take a repair back, byte for byte")
  .argument("<run>", "the run's id, or a beginning of it that is unique")
  .option("--force", "even if the source changed since (what changed is lost)")
  .option("--json", "one JSON document")
  .option("--debug", "show stack traces")
  .addHelpText("after", "\nExample:\n  unterbau undo 20261124-041530-k3f9")
  .action((id: string, flags: UndoFlags) => verb<UndoFlags>(() => import("./verbs/undo.ts"))([id], flags));

program
  .command("runs")
  .description("list the runs that changed something, with their verdicts; accept or remove them")
  .addOption(
    new Option("--accept <run>", "keep what this run changed for good: its undo logs are deleted").conflicts("prune"),
  )
  .option(
    "--prune <days>",
    "remove runs (with their undo logs) and last verdicts of disks that are older than so many days",
    parseCount,
  )
  .option("-y, --yes", "do not ask before an undo becomes impossible")
  .option("--json", "one JSON document")
  .option("--debug", "show stack traces")
  .addHelpText("after", "\nExample:\n  unterbau runs --accept k3f9\n  unterbau runs --prune 90 --yes")
  .action((flags: RunsFlags) => verb<RunsFlags>(() => import("./verbs/runs.ts"))([], flags));

withVolume(withSources(program.command("exec")), false)
  .description("run any tool on a volume shown as a file; {} stands for the file")
  .usage("<source...> --volume <selector> [options] -- <tool> [argument...]")
  .option("--write", "commit what the tool changes; without it changes go to an overlay and are lost")
  .option("--force", "with --write: commit even when the tool fails")
  .addHelpText("after", "\nExample:\n  unterbau exec os43.qcow2 --volume lvg1/lvroot -- tune2fs -l {}")
  .action((sources: string[], flags: ExecFlags) =>
    verb<ExecFlags>(() => import("./verbs/exec.ts"))(sources, { ...flags, command: toolCommand }),
  );

withVolume(withSources(program.command("export")), false)
  .description("hand a volume to other programs until interrupted")
  .addOption(new Option("--nbd <socket>", "serve it over NBD on this unix socket").conflicts("fuse"))
  .addOption(new Option("--fuse <file>", "show it as this file"))
  .option("--write", "let them write; every flush is committed, undo takes all of it back")
  .addHelpText(
    "after",
    "\nExample:\n  unterbau export os43.qcow2 --volume lvg1/lvroot --nbd /tmp/lvroot.sock &\n  qemu-img info 'nbd+unix:///?socket=/tmp/lvroot.sock'",
  )
  .action(verb<ExportFlags>(() => import("./verbs/export.ts")));

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

withVolume(withSources(program.command("ls")), false)
  .description("list the files of an ext volume; nothing is mounted or written")
  .usage("<source...> --volume <selector> [options] [path]")
  .option("-l, --long", "modes, owners, sizes, times (UTC), targets of links")
  .option("-R, --recursive", "the folders in it too")
  .option("-d, --directory", "a folder itself, not what is in it")
  .option("--json", "one JSON document")
  .addHelpText(
    "after",
    "\nThe last of several operands is the path in the volume.\n\nExample:\n  unterbau ls os43.qcow2 --volume lvg1/lvroot /var/log --long",
  )
  .action(verb<ListFlags>(() => import("./verbs/ls.ts")));

withVolume(withSources(program.command("cat")), false)
  .description("write a file of an ext volume to stdout")
  .usage("<source...> --volume <selector> [options] <path>")
  .addHelpText("after", "\nExample:\n  unterbau cat os43.qcow2 --volume lvg1/lvroot /etc/fstab")
  .action(verb<FilesFlags>(() => import("./verbs/cat.ts")));

withVolume(withSources(program.command("cp")), false)
  .description("copy files of an ext volume to the host; nothing there is overwritten, no link is followed there")
  .usage("<source...> --volume <selector> [options] <path> <destination>")
  .option("-r, --recursive", "a folder with all that is in it")
  .option("--special", "also devices, fifos, setuid and setgid bits and system attributes (as root)")
  .option("-v, --verbose", "name each file on stderr")
  .option("--json", "one JSON document")
  .addHelpText(
    "after",
    "\nExample:\n  unterbau cp os43.qcow2 --volume lvg1/lvroot -r /etc ./etc-of-os43\n  unterbau cp host.raw --volume disk1 /var/lib/images/os43.qcow2 .",
  )
  .action(verb<CopyFlags>(() => import("./verbs/cp.ts")));

withVolume(withSources(program.command("mount")), false)
  .description(
    "show the files of an ext volume in an empty folder, read-only, for you alone, until interrupted or unmounted",
  )
  .usage("<source...> <dir> --volume <selector> [options]")
  .option("--json", "one JSON document on stdout when it is mounted")
  .addHelpText(
    "after",
    "\nThe source stays locked as long as it is mounted: a guest on it cannot be started.\n\nExample:\n  mkdir /tmp/os43\n  unterbau mount os43.qcow2 --volume lvg1/lvroot /tmp/os43\n  (in another terminal)  ls /tmp/os43; unterbau umount /tmp/os43",
  )
  .action(verb<MountFlags>(() => import("./verbs/mount.ts")));

program
  .command("umount")
  .description("end what mount shows in a folder; what a killed one left is taken away")
  .argument("<dir>", "the folder")
  .option("--json", "one JSON document")
  .option("--debug", "show stack traces")
  .addHelpText("after", "\nExample:\n  unterbau umount /tmp/os43")
  .action((folder: string, flags: PlainFlags) => verb<PlainFlags>(() => import("./verbs/umount.ts"))([folder], flags));

withKernel(program.command("plan"))
  .description("print, as a shell script, how this host's kernel is led to the volumes, and back")
  .option("--json", "the steps as one JSON document")
  .addHelpText(
    "after",
    "\nNothing is opened by the kernel, and nothing is changed: the script does that.\n\nExample:\n  unterbau plan os43.qcow2 --volume lvg1/lvroot > os43.sh\n  unterbau plan /dev/volssd10/kvmos --inside /os43.qcow2 --repair",
  )
  .action(verb<PlanFlags>(() => import("./verbs/plan.ts")));

withKernel(program.command("run-plan"))
  .description("do what plan prints, with this host's kernel, and take all of it down again (as root)")
  .option("--json", "one JSON document")
  .addHelpText(
    "after",
    "\nAfter a crash, `unterbau recover` takes down what is left.\nExit codes as fsck(8): 0 clean · 1 repaired · 4 errors left · 8 something failed or is left · 16 usage · 32 cancelled\n\nExample:\n  unterbau run-plan os43.qcow2 --volume lvg1/lvroot --repair",
  )
  .action(verb<PlanFlags>(() => import("./verbs/run-plan.ts"), CHECK));

program
  .command("recover")
  .description("take down what a run-plan left that was killed, in reverse order (as root)")
  .option("--json", "one JSON document")
  .option("--debug", "show stack traces")
  .addHelpText(
    "after",
    "\nA repair that was cut off needs none: the next command on its source takes it back.\n\nExample:\n  unterbau recover",
  )
  .action((flags: PlainFlags) => verb<PlainFlags>(() => import("./verbs/recover.ts"))([], flags));

addLifeVerbs(program, verb, CHECK);
addLuksVerbs(program, verb);
addMigrate(program, verb);
addAuditVerbs(program, verb, CHECK);
addEgressVerbs(program, verb);
addReportVerbs(program, verb);
addRetire(program, verb);

program
  .command("doctor")
  .description("which outside programs are here, what is lost without each, and what killed commands have left")
  .option("--json", "one JSON document")
  .option("--debug", "show stack traces")
  .addHelpText(
    "after",
    "\nExit code 1: something is missing without which nothing can be checked, or something is left behind.\n\nExample:\n  unterbau doctor\n  unterbau doctor --json | jq '.items[] | select(.ok | not)'",
  )
  .action((flags: PlainFlags) => verb<PlainFlags>(() => import("./verbs/doctor.ts"))([], flags));

/** Does what the arguments say; the exit code is left in process.exitCode. Called once, by the launcher. */
export async function main(argv: readonly string[]): Promise<void> {
  // What stands after `--` belongs to the tool, also when it looks like an option of ours.
  const split = argv[0] === "exec" ? argv.indexOf("--") : -1;
  if (split >= 0) toolCommand.push(...argv.slice(split + 1));
  const own = split >= 0 ? argv.slice(0, split) : argv;
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  for (const command of all(program)) command.exitOverride();
  try {
    await program.parseAsync([...own], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    exitCode = error.exitCode === 0 ? 0 : usesFsckCodes(argv) ? CHECK.usage : OTHER.usage;
  }
  process.exitCode = exitCode;
}

function usesFsckCodes([verb, action]: readonly string[]): boolean {
  return verb === "check" || verb === "run-plan" || verb === "audit" || (verb === "backup" && action === "verify");
}
