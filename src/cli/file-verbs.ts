import type { Command } from "commander";
import {
  type CopyFlags,
  type FilesFlags,
  type ListFlags,
  type MountFlags,
  type PlainFlags,
  withSources,
  withVolume,
} from "./options.ts";
import type { Verb } from "./run-verb.ts";

export function addLs(program: Command, verb: Verb): void {
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
}

export function addCat(program: Command, verb: Verb): void {
  withVolume(withSources(program.command("cat")), false)
    .description("write a file of an ext volume to stdout")
    .usage("<source...> --volume <selector> [options] <path>")
    .addHelpText("after", "\nExample:\n  unterbau cat os43.qcow2 --volume lvg1/lvroot /etc/fstab")
    .action(verb<FilesFlags>(() => import("./verbs/cat.ts")));
}

export function addCp(program: Command, verb: Verb): void {
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
}

export function addMount(program: Command, verb: Verb): void {
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
}

export function addUmount(program: Command, verb: Verb): void {
  program
    .command("umount")
    .description("end what mount shows in a folder; what a killed one left is taken away")
    .argument("<dir>", "the folder")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExample:\n  unterbau umount /tmp/os43")
    .action((folder: string, flags: PlainFlags) =>
      verb<PlainFlags>(() => import("./verbs/umount.ts"))([folder], flags),
    );
}
