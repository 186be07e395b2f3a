import { lstatSync, readlinkSync, realpathSync } from "node:fs";
import { basename, dirname } from "node:path";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

/** Where a caged checker finds its one file. */
export const CAGED_FILE = "/disk";

/** Variables that reach a caged checker: they pin the time in e2fsprogs, and the time zone of its messages. */
const PASSED_VARIABLES = ["E2FSCK_TIME", "E2FSPROGS_FAKE_TIME", "TZ"];

/** Places of shared libraries; on a merged-/usr system those outside /usr are links into it. */
const LIBRARY_DIRS = ["/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib32", "/lib64"];

/** The loader's cache, the time zone, and (through `configFiles`) a checker's own settings: all that is seen of /etc. */
const LOADER_FILES = ["/etc/ld.so.cache", "/etc/localtime"];

export interface CageOptions {
  /** The file on this side. */
  readonly file: string;
  /** Absolute path of the program, and its arguments as the program sees them. */
  readonly argv: readonly string[];
  /** A descriptor on which bubblewrap reports (`--json-status-fd`). */
  readonly statusFd?: number | undefined;
  /** The program begins when a byte can be read from this descriptor. */
  readonly startFd?: number | undefined;
  /** A descriptor from which bubblewrap reads a seccomp filter. */
  readonly filterFd?: number | undefined;
  readonly env: NodeJS.ProcessEnv;
}

export interface CheckerCage extends CageOptions {
  /** Files that the program reads if they are there (`/etc/e2fsck.conf`). */
  readonly configFiles?: readonly string[] | undefined;
  /** Further arguments of bubblewrap's: what else is in the cage, before its root becomes read-only. */
  readonly more?: readonly string[] | undefined;
  /** The same for what has to be in /dev. */
  readonly moreDevices?: readonly string[] | undefined;
}

export interface HostCage extends CageOptions {
  readonly cwd: string;
  /** Directories that stay writable. */
  readonly writablePaths?: readonly string[] | undefined;
}

export interface Bwrap {
  readonly path: string;
  /** `--disable-userns`: the caged program cannot make namespaces of its own. Since bubblewrap 0.8. */
  readonly disableUserns: boolean;
}

/** bubblewrap's path. Throws `unsupported` with the package's name when it is missing. */
export function requireBwrap(searchPath?: string, systemDirs?: readonly string[]): string {
  const path = findProgram("bwrap", searchPath, systemDirs);
  if (path) return path;
  throw new StorageError("unsupported", "bubblewrap is not installed, and no checker runs outside its cage", {
    feature: "bwrap",
    hint: "install the package bubblewrap",
  });
}

/** What the bubblewrap at `path` can do, from the text of its `--help`. */
export function bwrapOf(path: string, help: string): Bwrap {
  return { path, disableUserns: help.includes("--disable-userns") };
}

/**
 * For a checker that parses guest bytes: it sees its own binary, the system's libraries and its one file at CAGED_FILE. No network,
 * no capabilities, no other process, no home, no /etc, nothing writable but the file and an empty /tmp.
 */
export function checkerCage(bwrap: Bwrap, cage: CheckerCage): string[] {
  const [program, ...args] = cage.argv;
  if (program === undefined) throw new StorageError("usage", "no program to run");
  // Called by its bare name, as a person would: programs put the name they were called by in front of their messages.
  const path = `${dirname(program)}:/usr/sbin:/usr/bin:/sbin:/bin`;
  const environment = ["--clearenv", "--setenv", "PATH", path, "--setenv", "LC_ALL", "C"];
  for (const name of PASSED_VARIABLES) {
    const value = cage.env[name];
    if (value !== undefined) environment.push("--setenv", name, value);
  }
  return [
    bwrap.path,
    ...ISOLATION,
    ...(bwrap.disableUserns ? ["--disable-userns"] : []),
    ...status(cage),
    ...LIBRARY_DIRS.flatMap(libraryDir),
    ...[...LOADER_FILES, ...(cage.configFiles ?? [])].flatMap((f) => ["--ro-bind-try", f, f]),
    // At the path it is called by: programs look at their own name (fsck.ext4).
    "--ro-bind",
    realpathSync(program),
    program,
    ...devices(cage.moreDevices),
    "--tmpfs",
    "/tmp",
    "--bind",
    cage.file,
    CAGED_FILE,
    ...environment,
    ...(cage.more ?? []),
    "--remount-ro",
    "/",
    "--chdir",
    "/",
    "--",
    basename(program),
    ...args,
  ];
}

/**
 * For a tool that the user chose: the whole host, read-only, with the file at its own path; the working directory and the
 * environment are kept. No network, no capabilities, no other process; nothing is written but the file and `writablePaths`.
 */
export function hostCage(bwrap: Bwrap, cage: HostCage): string[] {
  return [
    bwrap.path,
    ...ISOLATION,
    ...(bwrap.disableUserns ? ["--disable-userns"] : []),
    ...status(cage),
    "--ro-bind",
    "/",
    "/",
    ...devices(),
    ...(cage.writablePaths ?? []).flatMap((p) => ["--bind", p, p]),
    "--bind",
    cage.file,
    cage.file,
    "--chdir",
    cage.cwd,
    "--",
    ...cage.argv,
  ];
}

/** bubblewrap(1). `--die-with-parent`: SIGKILL for the cage when this process dies, however it dies. */
const ISOLATION = [
  "--die-with-parent",
  "--new-session",
  "--unshare-user",
  "--unshare-ipc",
  "--unshare-pid",
  "--unshare-net",
  "--unshare-uts",
  "--unshare-cgroup-try",
  "--cap-drop",
  "ALL",
];

/** null, zero, full, random, urandom, tty, and nowhere to put anything; /proc of its own processes only. */
const devices = (more: readonly string[] = []): string[] => [
  "--dev",
  "/dev",
  ...more,
  "--remount-ro",
  "/dev",
  "--proc",
  "/proc",
];

function status({ statusFd, startFd, filterFd }: CageOptions): string[] {
  return [
    ...(statusFd === undefined ? [] : ["--json-status-fd", String(statusFd)]),
    ...(startFd === undefined ? [] : ["--block-fd", String(startFd)]),
    ...(filterFd === undefined ? [] : ["--seccomp", String(filterFd)]),
  ];
}

function libraryDir(path: string): string[] {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat?.isSymbolicLink()) return ["--symlink", readlinkSync(path), path];
  return stat?.isDirectory() ? ["--ro-bind", path, path] : [];
}

/** What bubblewrap wrote on its status descriptor. */
export interface CageStatus {
  /** The program was started. */
  readonly started: boolean;
  /** Its exit code; 128 + n when signal n ended it. Null: it never began, or the cage was killed. */
  readonly exitCode: number | null;
}

/** Parses the lines of `--json-status-fd`: an object with `child-pid`, later one with `exit-code`. */
export function parseCageStatus(text: string): CageStatus {
  let started = false;
  let exitCode: number | null = null;
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    let value: Record<string, unknown>;
    try {
      value = JSON.parse(line) as Record<string, unknown>;
    } catch {
      continue;
    }
    if (typeof value["child-pid"] === "number") started = true;
    if (typeof value["exit-code"] === "number") exitCode = value["exit-code"];
  }
  return { started, exitCode };
}
