import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { describeError, StorageError } from "../core/errors.ts";
import { memoryDevice } from "../core/memory-device.ts";
import { libc } from "../host/ffi.ts";
import { mountPrivately } from "../host/private-mount.ts";
import { stateDir } from "../host/run-store.ts";
import { findProgram } from "../tools/find.ts";
import { seccompFilter } from "../tools/seccomp.ts";
import { virsh } from "../tools/virsh.ts";
import type { DoctorItem } from "./doctor.ts";
import { connections } from "./guests.ts";
import { runOnFile } from "./run-on-file.ts";

/** libvirt answers at once, or something is wrong. */
const LIBVIRT_MS = 10_000;
const CAGE_MS = 60_000;

/** What the kernel and its services offer. Each is really tried. */
export async function hostItems(): Promise<DoctorItem[]> {
  const root = process.getuid?.() === 0;
  return [
    await attempt("/dev/fuse", "check, exec, mount: a volume cannot be shown as a file", true, () => {
      accessSync("/dev/fuse", constants.R_OK + constants.W_OK);
      return "works";
    }),
    await attempt("system calls (koffi)", "locks, check, exec: nothing works without it", true, () => {
      libc();
      return "works";
    }),
    filter(),
    await attempt("private mount", "check, exec, mount: a volume cannot be shown as a file", true, async () => {
      using child = await mountPrivately({
        mode: 0o100400,
        readOnly: true,
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        env: process.env,
      });
      void child.fuseFd;
      return root ? "works (as root)" : "works (in a user namespace)";
    }),
    await attempt("cage", "check, exec, mount: no program can be run on a volume", true, caged),
    await attempt("state folder", "repairs need a place for their undo logs", true, () => {
      const folder = stateDir();
      // It is made by the first repair.
      let there = folder;
      while (!existsSync(there)) there = dirname(there);
      accessSync(there, constants.W_OK);
      return folder;
    }),
    await attempt("visible mounts", "mount: only root can mount", false, () => visibleMounts(root)),
    ...(await Promise.all(connections(undefined).map(libvirt))),
    await kernelModule("dm_mod", "run-plan: no LUKS and no volume group is opened by the kernel"),
    await kernelModule("nbd", "run-plan: images other than raw ones are not opened by the kernel"),
  ];
}

async function attempt(
  name: string,
  without: string,
  required: boolean,
  act: () => string | Promise<string>,
): Promise<DoctorItem> {
  try {
    const detail = await act();
    return { group: "host", name, ok: true, detail, without, required, install: null };
  } catch (error) {
    const hint = error instanceof StorageError && error.hint ? ` (${error.hint})` : "";
    const detail = `${describeError(error)}${hint}`;
    return { group: "host", name, ok: false, detail, without, required, install: null };
  }
}

/** The numbers of system calls differ between architectures, and only those of some are known here. */
function filter(): DoctorItem {
  const ok = seccompFilter("checker") !== null;
  return {
    group: "host",
    name: "seccomp",
    ok,
    detail: ok ? `system calls of caged programs are filtered (${process.arch})` : `no filter for ${process.arch} yet`,
    without: "check, exec, mount: a caged program may make every system call",
    required: false,
    install: null,
  };
}

/** A program is really run as a checker is, on a file of one block. */
async function caged(): Promise<string> {
  const program = findProgram("true") ?? "/bin/true";
  const result = await runOnFile({
    device: memoryDevice(new Uint8Array(4096)),
    writable: false,
    argv: [program, "{}"],
    cage: "checker",
    stdout: () => undefined,
    stderr: "stdout",
    timeoutMs: CAGE_MS,
  });
  if (result.exitCode === 0) return "works";
  throw new StorageError("io", `a program in it ended with ${result.exitCode ?? result.signal}`, { layer: "bwrap" });
}

/** Others than root mount by a helper that has root's rights. */
function visibleMounts(root: boolean): string {
  const helper = findProgram("fusermount3") ?? findProgram("fusermount");
  if (helper === null) throw new StorageError("unsupported", "fusermount3 is not installed", { layer: "fuse" });
  const { mode, uid } = statSync(helper);
  if (!root && !(uid === 0 && (mode & constants.S_IXUSR) !== 0 && (mode & 0o4000) !== 0))
    throw new StorageError("unsupported", `${helper} is not setuid root`, { layer: "fuse", hint: "reinstall fuse3" });
  return root ? "work (as root)" : "work (by fusermount3)";
}

function libvirt(uri: string | null): Promise<DoctorItem> {
  const name = uri === null ? "libvirt" : `libvirt (${uri})`;
  const without = "list, vm:GUEST: its guests are not found by name";
  return attempt(name, without, false, async () => {
    const asked = { uri, readOnly: true, timeoutMs: LIBVIRT_MS };
    const where = (await virsh(["uri"], asked)).trim();
    const guests = (await virsh(["list", "--all", "--uuid"], asked)).split("\n").filter((line) => line.trim() !== "");
    return `${where} answers, ${guests.length} guest${guests.length === 1 ? "" : "s"}`;
  });
}

function kernelModule(name: string, without: string): Promise<DoctorItem> {
  return attempt(`kernel module ${name}`, without, false, () => {
    if (existsSync(`/sys/module/${name}`)) return "loaded";
    const modprobe = findProgram("modprobe");
    if (modprobe !== null && spawnSync(modprobe, ["-n", "-q", name], { stdio: "ignore" }).status === 0)
      return "not loaded, run-plan loads it";
    throw new StorageError("unsupported", "this kernel does not have it", {
      hint: "check, exec, export and mount need none",
    });
  });
}
