import { spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

export interface VirshOptions {
  /** libvirt's connection URI; null: virsh's own default. */
  readonly uri: string | null;
  /** A connection that can change nothing; it needs fewer rights. */
  readonly readOnly?: boolean | undefined;
  /** Milliseconds until virsh is ended; default 30 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Its standard input, from which it does not read: who waits for its end waits for virsh, too, also when we are killed. */
  readonly hold?: Writable | null | undefined;
}

/** A domain's XML has some ten KiB; a list of ten thousand guests has less than this, too. */
const MAX_OUTPUT = 16 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

/**
 * Runs one virsh(1) command without a shell and returns its standard output. `args`: the command, then `--option=value` each in one
 * element, so that no name can be taken for an option. Throws `io` with libvirt's own reason, `unsupported` when virsh is not there.
 */
export async function virsh(args: readonly string[], options: VirshOptions): Promise<string> {
  const program = findProgram("virsh");
  if (program === null) {
    throw new StorageError("unsupported", "virsh is not installed, so guests cannot be found by name", {
      layer: "libvirt",
      feature: "vm:",
      hint: "install it (package libvirt-clients), or name the guest's image files or block devices",
    });
  }
  options.signal?.throwIfAborted();
  const argv = [
    "--quiet",
    ...(options.readOnly ? ["--readonly"] : []),
    ...(options.uri === null ? [] : [`--connect=${options.uri}`]),
    ...args,
  ];
  const { code, stdout, stderr, ended } = await run(program, argv, options);
  if (code === 0) return stdout;
  if (ended !== null) throw ended;
  throw failure(args[0] ?? "virsh", stderr, options.uri);
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ended: StorageError | null;
}

function run(program: string, argv: readonly string[], options: VirshOptions): Promise<Ended> {
  const { timeoutMs = TIMEOUT_MS, signal, hold } = options;
  return new Promise((done, fail) => {
    // Its words are read here: always the English ones.
    const env = { ...process.env, LC_ALL: "C", LANGUAGE: "C" };
    const child = spawn(program, argv, {
      env,
      stdio: [hold ?? "ignore", "pipe", "pipe"],
    });
    let ended: StorageError | null = null;
    const end = (error: StorageError) => {
      ended ??= error;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(() => {
      end(new StorageError("io", `libvirt did not answer for ${timeoutMs / 1000} s`, { layer: "libvirt" }));
    }, timeoutMs);
    const onAbort = () => end(new StorageError("cancelled", "cancelled"));
    signal?.addEventListener("abort", onAbort, { once: true });
    const texts = [child.stdout!, child.stderr!].map((stream) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= MAX_OUTPUT) chunks.push(chunk);
        else end(new StorageError("limit", `virsh wrote more than ${MAX_OUTPUT} bytes`, { layer: "libvirt" }));
      });
      return () => Buffer.concat(chunks).toString("utf8");
    });
    const over = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    child.on("error", (error) => {
      over();
      fail(new StorageError("io", `virsh cannot be started: ${error.message}`, { layer: "libvirt", cause: error }));
    });
    child.on("close", (code) => {
      over();
      done({ code: ended === null ? code : null, stdout: texts[0]!(), stderr: texts[1]!(), ended });
    });
  });
}

/** virsh writes `error: what it wanted` and then `error: why not`; the last line has the reason. */
function failure(command: string, stderr: string, uri: string | null): StorageError {
  const lines = stderr
    .split("\n")
    .map((line) => printable(line.replace(/^error: /, "").trim()))
    .filter((line) => line !== "");
  const reason = lines.at(-1) ?? "it gave no reason";
  const where = uri === null ? "" : ` at ${printable(uri)}`;
  if (lines.some((line) => /failed to connect to the hypervisor/i.test(line))) {
    return new StorageError("io", `libvirt cannot be reached${where}: ${reason}`, {
      layer: "libvirt",
      hint: connectionHint(reason),
    });
  }
  return new StorageError("io", `virsh ${command} failed${where}: ${reason}`, { layer: "libvirt" });
}

function connectionHint(reason: string): string {
  if (/permission denied|access denied|authentication|polkit/i.test(reason))
    return "join the group libvirt, or run it with sudo";
  return "start libvirt's daemon (systemctl start libvirtd or virtqemud), name another connection with --connect URI, or name the guest's image files";
}
