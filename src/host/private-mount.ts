import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { StorageError } from "../core/errors.ts";
import { mountFolder } from "./mount-folder.ts";
import { takeDescriptor } from "./pidfd.ts";

/**
 * A file that exists only for one program: the mount is made in a mount namespace of a child process, which afterwards becomes that
 * program. Nothing on the host sees it, and it vanishes with the last process in it, whatever kills them.
 *
 * The kernel wants /dev/fuse to have been opened inside the user namespace that mounts it (fs/fuse/inode.c, fuse_fill_super), so
 * the child opens it, and this process takes a duplicate of that descriptor.
 */

/** Descriptors of the child while it prepares. 0 and 1 are the program's own. */
const FD = {
  /** Messages of unshare and mount, so that they are not taken for the program's. */
  SETUP_ERRORS: 2,
  FUSE: 3,
  CONTROL: 4,
  /** What the program gets as standard error. */
  STDERR: 6,
} as const;

/**
 * Program descriptors that the caller may use for pipes of its own: the first two from the program (bubblewrap's status, a checker's
 * progress), the others to it (the word that it may begin, the filter of its system calls, a file for its cage).
 */
export const EXTRA_FDS = [5, 7, 8, 9, 10] as const;

/** What the child says when the file is mounted, on a line of its own. */
const READY = "unterbau-ready";

/**
 * The child's preparation. $1: mode of the root in octal, $2: rw or ro, $3: the mount point, $4: where the program's standard
 * error goes, $5: the program whose --help is wanted, or nothing. What it becomes, as a command in the shell's language, comes in one line through the
 * control channel once this process has the descriptor; the program gets neither of them.
 */
const PREPARE = `
exec ${FD.FUSE}<>/dev/fuse || exit 125
mount -i -t fuse -o "fd=${FD.FUSE},rootmode=$1,user_id=0,group_id=0,$2" unterbau "$3" || exit 125
[ -z "$5" ] || "$5" --help >&${FD.CONTROL} 2>&1 </dev/null ${FD.FUSE}>&-
printf '\\n${READY}\\n' >&${FD.CONTROL}
newline='
'
IFS= read -r command <&${FD.CONTROL} || exit 125
[ -s "$3" ]
echo sized >&${FD.CONTROL}
exec ${FD.FUSE}>&- ${FD.CONTROL}>&- 2>&"$4" ${FD.STDERR}>&-
eval "exec $command"
`;

/** One word of the shell's language that stands for `text`, without a line end in it. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''").replaceAll("\n", "'\"$newline\"'")}'`;
}

/** After a killed child's end, its pipes are read for so long. */
const PIPES_MS = 500;

/** How the child gets a mount namespace: root keeps its own user namespace, so that files of all users stay readable. */
const AS_ROOT = ["-m", "--propagation", "private"];
const AS_USER = ["-U", "-r", "-m", "--propagation", "private"];

export interface MountRequest {
  /** Mode of the served file, with its type (0100600). */
  readonly mode: number;
  readonly readOnly: boolean;
  readonly stdin: "ignore" | "inherit";
  readonly stdout: "pipe" | "inherit";
  /** `stdout`: the same pipe or terminal as standard output, so that the order of the messages is kept. */
  readonly stderr: "pipe" | "inherit" | "stdout";
  readonly env: NodeJS.ProcessEnv;
  /** Absolute path of a program whose `--help` is to be asked on the way, as that costs no time then. */
  readonly help?: string | undefined;
}

/** A child process that has mounted the file and waits to be told what to become. */
export interface MountedChild extends Disposable {
  /** The served file's path, in the child's namespace only. */
  readonly path: string;
  /** What `help` printed. */
  readonly help: string;
  /** The open /dev/fuse; belongs to the caller. */
  readonly fuseFd: number;
  /** Resolves when the program has ended and its pipes are closed; `signal` when a signal ended the cage itself. */
  readonly closed: Promise<{ readonly signal: string | null }>;
  /** Null when inherited or joined with the other. */
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** EXTRA_FDS, in that order. */
  readonly extras: readonly [Readable, Readable, Writable, Writable, Writable];
  /**
   * The child becomes this program. Call once, with the FUSE server running. Resolves when the kernel knows the file's size
   * (before that it would drop what is put into its cache), or the child has ended.
   */
  run(program: readonly string[]): Promise<void>;
  /** SIGKILL, if it still runs. */
  kill(): void;
  /** Kills the child if it still runs, removes the mount point. */
  [Symbol.dispose](): void;
}

/** Throws `unsupported` where this host forbids it, with the sysctl or module that would allow it. */
export async function mountPrivately(request: MountRequest): Promise<MountedChild> {
  if (process.getuid?.() === 0) {
    try {
      return await attempt(request, AS_ROOT);
    } catch (error) {
      // Root in a container may lack CAP_SYS_ADMIN and still be allowed to make a user namespace.
      if (!(error instanceof StorageError) || error.feature !== NAMESPACES) throw error;
    }
  }
  return attempt(request, AS_USER);
}

async function attempt(request: MountRequest, unshare: readonly string[]): Promise<MountedChild> {
  const folder = mountFolder();
  const { path } = folder;
  let child: ChildProcess | undefined;
  const kill = (): void => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    // The whole group: bubblewrap that dies between its fork and the handshake with the fork leaves that waiting for ever.
    try {
      process.kill(-child.pid!, "SIGKILL");
    } catch {
      child.kill("SIGKILL");
    }
    // Whoever still holds a pipe must not keep the end from being seen.
    const { stdio } = child;
    child.once("exit", () => {
      setTimeout(() => {
        for (const stream of stdio) stream?.destroy();
      }, PIPES_MS).unref();
    });
  };
  const dispose = (): void => {
    kill();
    folder[Symbol.dispose]();
  };
  try {
    const stderr = request.stderr === "inherit" ? 2 : request.stderr === "pipe" ? "pipe" : "ignore";
    const stdio: StdioOptions = [
      request.stdin,
      request.stdout,
      "pipe",
      "ignore",
      "pipe",
      "pipe",
      stderr,
      "pipe",
      "pipe",
      "pipe",
      "pipe",
    ];
    const stderrAt = request.stderr === "stdout" ? 1 : FD.STDERR;
    const parameters = [
      request.mode.toString(8),
      request.readOnly ? "ro" : "rw",
      path,
      String(stderrAt),
      request.help ?? "",
    ];
    const argv = [...unshare, "sh", "-c", PREPARE, "sh", ...parameters];
    const spawned = spawn("unshare", argv, { stdio, env: request.env, detached: true });
    child = spawned;
    const closed = new Promise<{ signal: string | null }>((resolve) => {
      spawned.once("close", (_code, signal) => resolve({ signal }));
    });
    const help = await ready(spawned);
    const fuseFd = takeDescriptor(spawned.pid!, FD.FUSE);
    const control = spawned.stdio[FD.CONTROL] as Duplex;
    return {
      path,
      help,
      fuseFd,
      closed,
      kill,
      stdout: request.stdout === "pipe" ? spawned.stdout : null,
      stderr: request.stderr === "pipe" ? stdioOf(spawned, FD.STDERR) : null,
      extras: [
        stdioOf(spawned, EXTRA_FDS[0]),
        stdioOf(spawned, EXTRA_FDS[1]),
        quiet(duplexOf(spawned, EXTRA_FDS[2])),
        quiet(duplexOf(spawned, EXTRA_FDS[3])),
        quiet(duplexOf(spawned, EXTRA_FDS[4])),
      ],
      run: (program) =>
        new Promise((resolve) => {
          control.once("data", () => resolve());
          void closed.then(() => resolve());
          control.end(`${program.map(shellWord).join(" ")}\n`);
        }),
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

function stdioOf(child: ChildProcess, fd: number): Readable {
  return child.stdio[fd] as Readable;
}

function duplexOf(child: ChildProcess, fd: number): Duplex {
  return child.stdio[fd] as Duplex;
}

/** The other end may die at any moment; its exit tells what happened. */
function quiet<T extends Duplex>(stream: T): T {
  stream.on("error", () => undefined);
  return stream;
}

/** `feature` of the error when no mount namespace can be made. */
const NAMESPACES = "user namespaces";

/** Resolves with the asked help when the child has mounted the file; throws with the reason when it ends instead. */
function ready(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const control = child.stdio[FD.CONTROL] as Duplex | null;
    let messages = "";
    let said = "";
    child.stdio[FD.SETUP_ERRORS]?.on("data", (chunk: Buffer) => {
      messages += chunk.toString("utf8");
    });
    child.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === "ENOENT"
          ? new StorageError("unsupported", "the program unshare is not installed", {
              feature: "unshare",
              hint: "install the package util-linux",
              cause,
            })
          : new StorageError("io", `cannot start a child process: ${cause.message}`, { cause }),
      );
    });
    child.once("close", () => reject(refusal(messages.trim())));
    if (control) quiet(control);
    control?.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
      if (said.endsWith(`\n${READY}\n`)) {
        control.removeAllListeners("data");
        resolve(said.slice(0, -READY.length - 2));
      }
    });
  });
}

/** What stood in the way, from the messages of unshare, the shell and mount. */
function refusal(messages: string): StorageError {
  const last = messages.split("\n").at(-1) ?? "";
  if (/^unshare:/m.test(messages)) {
    return new StorageError("unsupported", `this host does not let an ordinary user mount privately (${last})`, {
      feature: NAMESPACES,
      hint: "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0, kernel.apparmor_restrict_unprivileged_userns=0), or run with sudo",
    });
  }
  if (messages.includes("/dev/fuse")) {
    return new StorageError("unsupported", `/dev/fuse cannot be opened (${last})`, {
      feature: "/dev/fuse",
      hint: "load the module (modprobe fuse) and see that /dev/fuse exists and is readable and writable for everyone; in a container, pass the device in",
    });
  }
  return new StorageError("io", `cannot mount the file for a checker (${last || "the child process ended"})`, {
    hint: "unshare, sh and mount of util-linux have to be there; see unterbau doctor",
  });
}
