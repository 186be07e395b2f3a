import { readFileSync } from "node:fs";
import { allCheckers } from "../tools/checkers.ts";
import { findProgram } from "../tools/find.ts";
import { type Family, familyOf, installCommand, packageName } from "../tools/packages.ts";
import { hostItems } from "./doctor-host.ts";
import { leftBehind } from "./doctor-left.ts";

export interface DoctorItem {
  /** left-behind: what commands that were killed have left. */
  readonly group: "programs" | "host" | "left-behind";
  readonly name: string;
  readonly ok: boolean;
  /** Where it is, or why it does not work. */
  readonly detail: string;
  /** What does not work without it; of what is left behind, what becomes of it. */
  readonly without: string;
  /** The main job (inspect, check, repair, undo) needs it. */
  readonly required: boolean;
  /** The command that brings it, on this distribution; null: there is none, or it is there. */
  readonly install: string | null;
}

export interface DoctorDocument {
  readonly schema: "unterbau/doctor/1";
  readonly items: readonly DoctorItem[];
}

/** name, what is lost without it, whether the main job needs it. Checkers are asked for by themselves. */
const PROGRAMS: readonly (readonly [name: string, without: string, required: boolean])[] = [
  ["bwrap", "check, exec, mount: no program can be run on a volume", true],
  ["unshare", "check, exec, mount: no private mount", true],
  ["mount", "check, exec, mount, export --fuse: nothing can be mounted", true],
  ["umount", "export --fuse, run-plan, lock: nothing can be unmounted", false],
  ["fuse2fs", "mount: files are read with ls, cat and cp only", false],
  ["fusermount3", "mount: files are read with ls, cat and cp only", false],
  ["virsh", "list, vm:GUEST: guests are not found by name", false],
  [
    "cryptsetup",
    "convert --to-luks, header: no LUKS container is made or kept; run-plan, unlock: none is opened",
    false,
  ],
  ["qemu-nbd", "run-plan: images other than raw ones are not opened by the kernel", false],
  ["losetup", "run-plan: files and partitions are not opened by the kernel", false],
  ["vgchange", "run-plan: volume groups are not opened by the kernel; check --via lvm-snapshot", false],
  ["dmsetup", "run-plan: groups whose names are taken; list: what cipher a mapping has", false],
  ["mdadm", "run-plan: RAID arrays are not assembled by the kernel", false],
  ["udevadm", "run-plan: devices are not waited for", false],
  ["lvchange", "unlock, lock: volumes on encrypted groups stay as they are", false],
  ["systemctl", "boot: no unit is enabled; unlock: no TPM or token opens a volume", false],
  ["diff", "boot: nothing is changed, for it could not be shown before", false],
  ["restic", "backup to restic:REPO", false],
  ["borg", "backup to borg:REPO", false],
  ["modprobe", "run-plan: the kernel's modules must be loaded already", false],
];

/** What this host offers: outside programs, /dev/fuse, namespaces, native packages. Everything is really tried. */
export async function doctor(): Promise<DoctorDocument> {
  const family = distribution();
  const programs = PROGRAMS.map(([name, without, required]) => {
    // Where libfuse 3 is not there its predecessor does the same.
    const path = findProgram(name) ?? (name === "fusermount3" ? findProgram("fusermount") : null);
    return programItem(name, path, null, without, required, family);
  });
  const checkers = allCheckers().map((c) => {
    const path = c.find();
    const without = "check: its file systems are not checked";
    return programItem(c.name, path, path && c.version(path), without, c.name === "e2fsck", family);
  });
  return {
    schema: "unterbau/doctor/1",
    items: [...programs.slice(0, 4), ...checkers, ...programs.slice(4), ...(await hostItems()), ...leftBehind()],
  };
}

function programItem(
  name: string,
  path: string | null,
  version: string | null,
  without: string,
  required: boolean,
  family: Family | null,
): DoctorItem {
  const program = name.split(" ", 1)[0]!;
  return {
    group: "programs",
    name,
    ok: path !== null,
    detail:
      path === null ? `not installed (package ${packageName(program)})` : `${path}${version ? `, ${version}` : ""}`,
    without,
    required,
    install: path === null ? installCommand(program, family) : null,
  };
}

function distribution(): Family | null {
  for (const path of ["/etc/os-release", "/usr/lib/os-release"]) {
    try {
      return familyOf(readFileSync(path, "utf8"));
    } catch {
      // os-release(5): the second is read where the first is not there.
    }
  }
  return null;
}
