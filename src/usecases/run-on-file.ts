import { closeSync } from "node:fs";
import { constants } from "node:os";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { fileMode } from "../fuse/operations.ts";
import type { FilePiece } from "../fuse/push.ts";
import { type FuseStats, serveFuse } from "../fuse/server.ts";
import { fuseChannel } from "../host/fuse-channel.ts";
import { EXTRA_FDS, type MountedChild, mountPrivately } from "../host/private-mount.ts";
import { bwrapOf, CAGED_FILE, checkerCage, hostCage, parseCageStatus, requireBwrap } from "../tools/bwrap.ts";
import { seccompFilter } from "../tools/seccomp.ts";

/** The descriptor on which a program may report progress (`e2fsck -C 5`). */
export const PROGRESS_FD: number = EXTRA_FDS[0];
const STATUS_FD = EXTRA_FDS[1];
/** The program waits behind bubblewrap until it is told on this one. */
const START_FD = EXTRA_FDS[2];
const FILTER_FD = EXTRA_FDS[3];
const SUPPLY_FD = EXTRA_FDS[4];
/** Of the program's messages, this many bytes are kept for the error when the cage could not be built. */
const TAIL_BYTES = 4096;

type Chunks = (chunk: Uint8Array) => void;

export interface RunOnFileOptions {
  readonly device: BlockDevice;
  /** False: the file is read-only, whatever the device can do. */
  readonly writable: boolean;
  /** Absolute path of the program and its arguments; an argument's `{}` stands for the file's path. */
  readonly argv: readonly string[];
  /**
   * `checker`: sees nothing but itself, its libraries and the file (at `/disk`).
   * `host`: for a tool of the user's choice; the whole host read-only, working directory and environment kept.
   * Both without network and capabilities, and with a filter of system calls where this architecture's numbers are known.
   */
  readonly cage: "checker" | "host";
  /** checker: further files it may read if they are there, such as /etc/e2fsck.conf. */
  readonly configFiles?: readonly string[] | undefined;
  /** checker: it serves a file system to the kernel, and its cage has more in it. */
  readonly server?: CagedServer | undefined;
  /** host: directories that the tool may write to. */
  readonly writablePaths?: readonly string[] | undefined;
  readonly stdin?: "ignore" | "inherit";
  readonly stdout: Chunks | "inherit";
  /** `stdout`: the same stream, in the order in which the program wrote. */
  readonly stderr: Chunks | "inherit" | "stdout";
  /** Raw text from PROGRESS_FD. */
  readonly progress?: ((text: string) => void) | undefined;
  /** Wall clock; then the program is killed. Default: no limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly env?: NodeJS.ProcessEnv;
  /** What the program will read first: put into the kernel's cache of the file while the cage is built, before it begins. */
  readonly readAhead?: AsyncIterable<FilePiece> | undefined;
  /** Work that can be done while the program runs, once it has begun: this thread has little else to do then. Must not throw. */
  readonly meanwhile?: (() => void) | undefined;
  /** A file made ready by `prepareFile` with the same `writable`, `stdin`, `stdout`, `stderr` and `env`, which then is this run's. */
  readonly prepared?: PreparedFile | undefined;
}

/** What a file system in user space needs more than a checker. */
export interface CagedServer {
  /** A file for the cage. */
  readonly supply: string;
  /** bubblewrap's arguments; the file is read from this descriptor. */
  more(supplyFd: number): readonly string[];
  /** The same for what has to be in /dev. */
  readonly devices: readonly string[];
}

type FileOptions = Pick<RunOnFileOptions, "writable" | "stdin" | "env" | "server"> & {
  readonly stdout: Chunks | "inherit" | "pipe";
  readonly stderr: Chunks | "inherit" | "pipe" | "stdout";
};

/** A mounted file without content yet, and a child that waits to become a program on it. */
export interface PreparedFile extends AsyncDisposable {
  /** The child, once; null when it was taken before. Rejects as `runOnFile` would. */
  take(): Promise<MountedChild> | null;
}

/** Makes ready what `runOnFile` needs besides the device, so that a device can be opened meanwhile. */
export function prepareFile(options: FileOptions): PreparedFile {
  let child: Promise<MountedChild> | null = mount(options, !options.writable);
  // It is told to whoever takes it.
  child.catch(() => undefined);
  return {
    take() {
      const taken = child;
      child = null;
      return taken;
    },
    async [Symbol.asyncDispose]() {
      const left = await child?.catch(() => null);
      left?.[Symbol.dispose]();
      if (left) closeSync(left.fuseFd);
    },
  };
}

async function mount(options: FileOptions, readOnly: boolean): Promise<MountedChild> {
  const env = options.env ?? process.env;
  return mountPrivately({
    mode: fileMode(readOnly),
    // A server is refused when it opens the file for writing, not told of a read-only file system: see fuse/operations.ts.
    readOnly: readOnly && options.server === undefined,
    stdin: options.stdin ?? "ignore",
    stdout: options.stdout === "inherit" ? "inherit" : "pipe",
    stderr: typeof options.stderr === "string" ? options.stderr : "pipe",
    env,
    help: requireBwrap(env.PATH),
  });
}

export interface RunResult {
  /** Null when a signal ended the program, or it was killed here. */
  readonly exitCode: number | null;
  /** The signal that ended it: its own crash, or SIGKILL from here. */
  readonly signal: string | null;
  readonly timedOut: boolean;
  /** `options.signal` fired before the end. */
  readonly cancelled: boolean;
  /** The first failure of the device while the program used it. Whatever the program says is then no verdict. */
  readonly deviceError: StorageError | null;
  readonly stats: Readonly<FuseStats>;
  /** Wall clock, from the start of the program. */
  readonly seconds: number;
}

/**
 * Runs a program on `device` shown as a file. The file is mounted in a namespace of the program's own: the host never sees it, and
 * when this process dies the program is killed and nothing stays but an empty file in a temporary folder.
 * The device is not disposed of. Throws when the program could not be started (StorageError with a hint); once it ran,
 * the result tells all, also a timeout.
 */
export async function runOnFile(options: RunOnFileOptions): Promise<RunResult> {
  if (options.signal?.aborted) throw new StorageError("cancelled", "cancelled");
  const readOnly = !options.writable || !options.device.caps.writable;
  using child = await ((readOnly === !options.writable && options.prepared?.take()) || mount(options, readOnly));
  return await serve(child, readOnly, options);
}

function caged({ path, help }: MountedChild, options: RunOnFileOptions): string[] {
  const env = options.env ?? process.env;
  const bwrap = bwrapOf(requireBwrap(env.PATH), help);
  const shown = options.cage === "checker" ? CAGED_FILE : path;
  const common = {
    file: path,
    argv: options.argv.map((a) => a.replaceAll("{}", shown)),
    statusFd: STATUS_FD,
    startFd: START_FD,
    ...(filterOf(options) ? { filterFd: FILTER_FD } : {}),
    env,
  };
  return options.cage === "checker"
    ? checkerCage(bwrap, {
        ...common,
        configFiles: options.configFiles,
        more: options.server?.more(SUPPLY_FD),
        moreDevices: options.server?.devices,
      })
    : hostCage(bwrap, { ...common, cwd: process.cwd(), writablePaths: options.writablePaths });
}

function filterOf({ cage, server }: RunOnFileOptions): Uint8Array | null {
  return seccompFilter(server ? "server" : cage);
}

async function serve(child: MountedChild, readOnly: boolean, options: RunOnFileOptions): Promise<RunResult> {
  const stop = new AbortController();
  const server = serveFuse({
    channel: fuseChannel(child.fuseFd),
    device: options.device,
    readOnly,
    signal: stop.signal,
  });
  const kill = (): void => {
    child.kill();
    // A program that waits for the device dies only when its request is answered.
    stop.abort();
  };
  let timedOut = false;
  let cancelled = false;
  const cancel = (): void => {
    cancelled = true;
    kill();
  };
  options.signal?.addEventListener("abort", cancel, { once: true });
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          kill();
        }, options.timeoutMs);
  const tail = new Tail();
  const [progress, status, start, filter, supply] = child.extras;
  filter.end(filterOf(options));
  supply.end(options.server?.supply);
  let report = "";
  status.on("data", (chunk: Buffer) => {
    report += chunk.toString("utf8");
  });
  progress.setEncoding("utf8").on("data", (text: string) => options.progress?.(text));
  child.stdout?.on("data", (chunk: Buffer) => {
    if (options.stderr === "stdout") tail.add(chunk);
    if (options.stdout !== "inherit") options.stdout(chunk);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    tail.add(chunk);
    if (typeof options.stderr !== "string") options.stderr(chunk);
  });
  const began = performance.now();
  try {
    const sized = child.run(caged(child, options));
    const readAhead = options.readAhead && begun(options.readAhead);
    void (readAhead ? sized.then(() => server.push(readAhead)) : sized).then(() => {
      start.end("go");
      if (options.meanwhile) setImmediate(options.meanwhile);
    });
    const exit = await child.closed;
    const { firstError } = await server.done;
    const seconds = (performance.now() - began) / 1000;
    const { exitCode } = parseCageStatus(report);
    // A device that fails at the first look keeps bubblewrap from starting: that is told as the device's error.
    if (exitCode === null && exit.signal === null && !firstError) throw cageFailed(tail.text());
    return {
      ...decodeExit(exitCode, exit.signal),
      timedOut,
      cancelled,
      deviceError: firstError,
      stats: server.stats,
      seconds,
    };
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", cancel);
  }
}

/** The first piece is asked for at once: while the child starts there is time for it. The result must be iterated. */
function begun<T>(pieces: AsyncIterable<T>): AsyncIterable<T> {
  const iterator = pieces[Symbol.asyncIterator]();
  const first = iterator.next();
  // Told to whoever asks for the first piece.
  first.catch(() => undefined);
  let asked = false;
  return {
    [Symbol.asyncIterator]: () => ({
      next() {
        if (asked) return iterator.next();
        asked = true;
        return first;
      },
      async return(value) {
        // A generator that is at work ends only behind that.
        await first.catch(() => undefined);
        return (await iterator.return?.(value)) ?? { done: true, value };
      },
    }),
  };
}

/** bubblewrap reports a program ended by signal n as exit code 128 + n, as shells do. */
function decodeExit(code: number | null, killed: string | null): { exitCode: number | null; signal: string | null } {
  if (code === null) return { exitCode: null, signal: killed };
  const signal = code > 128 ? SIGNALS.get(code - 128) : undefined;
  return signal === undefined ? { exitCode: code, signal: null } : { exitCode: null, signal };
}

const SIGNALS = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

function cageFailed(messages: string): StorageError {
  const line = messages.split("\n").findLast((l) => l.startsWith("bwrap:")) ?? messages.trim().split("\n").at(-1);
  return new StorageError("unsupported", `the program could not be started in its cage (${line || "no message"})`, {
    feature: "bwrap",
    hint: "try: bwrap --unshare-user --unshare-pid --unshare-net --ro-bind / / true; where it fails, user namespaces are forbidden for it (AppArmor or sysctl)",
  });
}

/** The last TAIL_BYTES of a stream. */
class Tail {
  #bytes: Buffer = Buffer.alloc(0);

  add(chunk: Buffer): void {
    const joined = Buffer.concat([this.#bytes, chunk]);
    this.#bytes = joined.subarray(Math.max(0, joined.length - TAIL_BYTES));
  }

  text(): string {
    return this.#bytes.toString("utf8");
  }
}
