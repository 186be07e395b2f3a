import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

export interface StreamOptions {
  readonly packageName: string;
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly signal?: AbortSignal | undefined;
}

const ZEROS = new Uint8Array(1024 * 1024);
/** What is kept of an error stream. */
const MAX_ERRORS = 64 * 1024;

/**
 * Gives pieces (bytes, or a number of zeros) to a program's standard input. When they end with an error the program is killed before its
 * input ends: it must not take what it got for all. Throws that error, or `io` with the program's own words.
 */
export async function feedProgram(
  name: string,
  args: readonly string[],
  pieces: AsyncIterable<Uint8Array | number>,
  options: StreamOptions,
): Promise<void> {
  const child = start(name, args, ["pipe", "ignore", "pipe"], options);
  const input = child.stdin!;
  let gone: Error | null = null;
  input.on("error", (error) => {
    gone = error;
  });
  const errors = collect(child);
  const over = ended(child);
  // Also while it does not take what it is given.
  const stop = (): void => void child.kill("SIGKILL");
  options.signal?.addEventListener("abort", stop, { once: true });
  try {
    for await (const piece of pieces) {
      for (const bytes of typeof piece === "number" ? zeros(piece) : [piece]) {
        if (gone !== null || hasEnded(child)) break;
        if (!input.write(bytes)) await Promise.race([once(input, "drain"), over]).catch(() => undefined);
      }
      if (gone !== null || hasEnded(child)) break;
    }
  } catch (error) {
    child.kill("SIGKILL");
    await over.catch(() => undefined);
    options.signal?.removeEventListener("abort", stop);
    throw error;
  }
  const early = gone !== null || hasEnded(child);
  if (!early) input.end();
  const code = await over.finally(() => options.signal?.removeEventListener("abort", stop));
  options.signal?.throwIfAborted();
  if (code !== 0 || early) throw failed(name, code, errors());
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** What a program writes to standard output. Throws `io` when it fails; who stops reading ends it. */
export async function* readProgram(
  name: string,
  args: readonly string[],
  options: StreamOptions,
): AsyncIterable<Uint8Array> {
  const child = start(name, args, ["ignore", "pipe", "pipe"], options);
  const errors = collect(child);
  const over = ended(child);
  try {
    for await (const chunk of child.stdout!) yield chunk as Uint8Array;
    const code = await over;
    if (code !== 0) throw failed(name, code, errors());
  } finally {
    if (!hasEnded(child)) child.kill("SIGKILL");
  }
}

function start(
  name: string,
  args: readonly string[],
  stdio: readonly ("pipe" | "ignore")[],
  { packageName, env, signal }: StreamOptions,
): ChildProcess {
  const program = findProgram(name);
  if (program === null) {
    throw new StorageError("unsupported", `${name} is not installed`, {
      feature: name,
      hint: `install it (package ${packageName})`,
    });
  }
  signal?.throwIfAborted();
  return spawn(program, args, { env: { ...process.env, ...env, LC_ALL: "C.UTF-8" }, stdio: [...stdio] });
}

function ended(child: ChildProcess): Promise<number | null> {
  const over = new Promise<number | null>((done, fail) => {
    child.on("error", fail);
    child.on("close", done);
  });
  // It may be waited for only later.
  over.catch(() => undefined);
  return over;
}

function collect(child: ChildProcess): () => string {
  let text = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString("utf8")).slice(-MAX_ERRORS);
  });
  return () => text;
}

function failed(name: string, code: number | null, errors: string): StorageError {
  const lines = errors.split("\n").map((line) => printable(line.trim()));
  const reason = lines
    .filter((line) => line !== "")
    .slice(-5)
    .join("; ");
  return new StorageError("io", `${name} ended with ${code ?? "a signal"}${reason === "" ? "" : `: ${reason}`}`, {
    layer: "backup",
  });
}

function* zeros(length: number): Iterable<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length) yield left >= ZEROS.length ? ZEROS : ZEROS.subarray(0, left);
}
