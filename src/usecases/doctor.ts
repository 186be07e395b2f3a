import { accessSync, constants } from "node:fs";
import { describeError } from "../core/errors.ts";
import { libc } from "../host/ffi.ts";
import { mountPrivately } from "../host/private-mount.ts";
import { allCheckers } from "../tools/checkers.ts";
import { findProgram } from "../tools/find.ts";
import { seccompFilter } from "../tools/seccomp.ts";

export interface DoctorItem {
  readonly name: string;
  readonly ok: boolean;
  /** Where it is, or why it does not work. */
  readonly detail: string;
  /** What does not work without it. */
  readonly without: string;
  /** The main job needs it. */
  readonly required: boolean;
}

export interface DoctorDocument {
  readonly schema: "unterbau/doctor/1";
  readonly items: readonly DoctorItem[];
}

/** What this host offers: outside programs, /dev/fuse, namespaces, native packages. Everything is really tried. */
export async function doctor(): Promise<DoctorDocument> {
  const items: DoctorItem[] = [];
  const program = (name: string, packageName: string, without: string, required: boolean): void => {
    const path = findProgram(name);
    items.push({
      name,
      ok: path !== null,
      detail: path ?? `not installed (package ${packageName})`,
      without,
      required,
    });
  };
  program("bwrap", "bubblewrap", "check, exec: no program can be run on a volume", true);
  program("unshare", "util-linux", "check, exec: no private mount", true);
  program("mount", "mount", "check, exec: no private mount", true);
  for (const c of allCheckers()) {
    const path = c.find();
    const detail =
      path === null
        ? `not installed (package ${c.packageName})`
        : `${path}${c.version(path) ? `, ${c.version(path)}` : ""}`;
    items.push({
      name: c.name,
      ok: path !== null,
      detail,
      without: `check: its file systems are not checked`,
      required: c.name === "e2fsck",
    });
  }
  program("virsh", "libvirt-clients", "list, vm:GUEST: guests are not found by name", false);
  items.push(
    attempt("/dev/fuse", "check, exec: a volume cannot be shown as a file", () =>
      accessSync("/dev/fuse", constants.R_OK + constants.W_OK),
    ),
  );
  items.push(attempt("system calls (koffi)", "locks, check, exec: nothing works without it", () => void libc()));
  items.push(filter());
  items.push(await privateMount());
  return { schema: "unterbau/doctor/1", items };
}

function attempt(name: string, without: string, act: () => void): DoctorItem {
  try {
    act();
    return { name, ok: true, detail: "works", without, required: true };
  } catch (error) {
    return { name, ok: false, detail: describeError(error), without, required: true };
  }
}

/** The numbers of system calls differ between architectures, and only those of some are known here. */
function filter(): DoctorItem {
  const ok = seccompFilter("checker") !== null;
  return {
    name: "seccomp",
    ok,
    detail: ok ? `system calls of caged programs are filtered (${process.arch})` : `no filter for ${process.arch} yet`,
    without: "check, exec: a caged program may make every system call",
    required: false,
  };
}

/** A file is really mounted in a namespace of a child's own, and the child is ended again. */
async function privateMount(): Promise<DoctorItem> {
  const name = "private mount";
  const without = "check, exec: a volume cannot be shown as a file";
  try {
    using child = await mountPrivately({
      mode: 0o100400,
      readOnly: true,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: process.env,
    });
    void child.fuseFd;
    return {
      name,
      ok: true,
      detail: process.getuid?.() === 0 ? "works (as root)" : "works (in a user namespace)",
      without,
      required: true,
    };
  } catch (error) {
    return { name, ok: false, detail: describeError(error), without, required: true };
  }
}
