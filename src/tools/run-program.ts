import { spawn } from "node:child_process";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

export interface ProgramOptions {
  /** Bytes for its standard input; default: none. */
  readonly input?: Uint8Array | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly cwd?: string | undefined;
  /** Milliseconds until it is ended; default: it may take as long as it likes. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of every line that it writes to standard error. */
  readonly onLine?: ((line: string) => void) | undefined;
  /** The Debian package that has it, for the message when it is missing. */
  readonly packageName?: string | undefined;
}

export interface ProgramResult {
  /** Null: a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is kept of each stream. */
const MAX_OUTPUT = 16 * 1024 * 1024;

/**
 * Runs an administrator's program to its end, without a shell, in the C locale. Throws `unsupported` when it is not installed, `cancelled`,
 * `io` when its time is over; an exit code is no error here.
 */
export async function runProgram(
  name: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const { input, timeoutMs, signal, packageName } = options;
  const program = findProgram(name);
  if (program === null) {
    throw new StorageError("unsupported", `${name} is not installed`, {
      feature: name,
      hint: packageName === undefined ? undefined : `install it (package ${packageName})`,
    });
  }
  signal?.throwIfAborted();
  const env = { ...process.env, ...options.env, LC_ALL: "C", LANGUAGE: "C" };
  const child = spawn(program, args, { env, cwd: options.cwd, stdio: ["pipe", "pipe", "pipe"] });
  let ended: StorageError | null = null;
  const end = (error: StorageError): void => {
    ended ??= error;
    child.kill("SIGTERM");
  };
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => end(new StorageError("io", `${name} did not end within ${timeoutMs / 1000} s`)), timeoutMs);
  const onAbort = (): void => end(new StorageError("cancelled", "cancelled"));
  signal?.addEventListener("abort", onAbort, { once: true });
  const texts = [child.stdout, child.stderr].map((stream) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_OUTPUT) chunks.push(chunk);
    });
    return () => Buffer.concat(chunks).toString("utf8");
  });
  if (options.onLine) tellLines(child.stderr, options.onLine);
  // It may end without having read.
  child.stdin.on("error", () => {});
  child.stdin.end(input ?? "");
  try {
    const code = await new Promise<number | null>((done, fail) => {
      child.on("error", (cause) =>
        fail(new StorageError("io", `${name} cannot be started: ${cause.message}`, { cause })),
      );
      child.on("close", done);
    });
    if (ended) throw ended;
    return { code, stdout: texts[0]!(), stderr: texts[1]!() };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function tellLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = "";
  stream.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split(/[\r\n]+/);
    rest = (lines.pop() ?? "").slice(-4096);
    for (const line of lines) if (line !== "") onLine(line);
  });
}

/** The same for a program that must succeed: throws `io` with what it wrote to standard error. Its standard output. */
export async function mustRun(name: string, args: readonly string[], options: ProgramOptions = {}): Promise<string> {
  const result = await runProgram(name, args, options);
  if (result.code !== 0) throw programFailed(name, result);
  return result.stdout;
}

export function programFailed(name: string, { code, stderr }: ProgramResult): StorageError {
  const lines = stderr.split("\n").map((line) => printable(line.trim()));
  const reason = lines.filter((line) => line !== "").join("; ");
  return new StorageError("io", `${name} ended with ${code ?? "a signal"}${reason === "" ? "" : `: ${reason}`}`);
}
