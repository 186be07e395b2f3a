import { type ChildProcess, spawn } from "node:child_process";
import { basename } from "node:path";
import type { Writable } from "node:stream";
import { StorageError } from "../core/errors.ts";

/** A command that is asked to end is killed after so long, and no longer waited for after as long again: it may hang in the kernel. */
const GRACE_MS = 10_000;

export interface LimitedOptions {
  /** For its standard input; default: nothing. */
  readonly input?: Uint8Array;
  /** It has our terminal; nothing of what it says is kept. */
  readonly inherit?: "stdout" | "stderr";
  /** Asks it to end (SIGTERM). */
  readonly signal?: AbortSignal | undefined;
  /** Default: none, and then it is only asked, never killed: a checker may take its time to end in order. */
  readonly limitMs?: number;
  /** Its standard input, from which it does not read: who waits for the end of that waits for the program, too, also when we are killed. */
  readonly hold?: Writable | null | undefined;
  /** Between asking, killing and giving up. */
  readonly graceMs?: number;
}

export interface LimitedResult {
  /** Null: a signal ended it. */
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/**
 * Runs a program to its end, whatever its exit code. Throws `io` when it takes longer than `limitMs`; where it does not even end when it is
 * killed, it is left to itself.
 */
export function runLimited(
  path: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { input, inherit, signal, limitMs, hold, graceMs = GRACE_MS }: LimitedOptions,
): Promise<LimitedResult> {
  const child: ChildProcess = spawn(path, args, {
    env,
    stdio: inherit ? ["inherit", inherit === "stdout" ? 1 : 2, 2] : [hold ?? "pipe", "pipe", "pipe"],
  });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => errors.push(chunk));
  // It may end without having read.
  child.stdin?.on("error", () => {});
  child.stdin?.end(input ?? "");
  return new Promise((done, fail) => {
    let late = false;
    const timers: NodeJS.Timeout[] = [];
    const after = (ms: number, act: () => void) => void timers.push(setTimeout(act, ms));
    const over = () => {
      signal?.removeEventListener("abort", stop);
      for (const timer of timers) clearTimeout(timer);
    };
    const stop = () => {
      child.kill("SIGTERM");
      if (limitMs === undefined) return;
      after(graceMs, () => child.kill("SIGKILL"));
      after(2 * graceMs, () => {
        over();
        for (const stream of child.stdio) stream?.destroy();
        child.unref();
        fail(tookTooLong(path, limitMs, `it does not end, also when it is killed (pid ${child.pid})`));
      });
    };
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    if (limitMs !== undefined) {
      after(limitMs, () => {
        late = true;
        stop();
      });
    }
    child.on("error", (error) => {
      over();
      fail(error);
    });
    child.on("close", (code) => {
      over();
      if (late) fail(tookTooLong(path, limitMs ?? 0, "it was ended"));
      else done({ code, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() });
    });
  });
}

function tookTooLong(path: string, limitMs: number, what: string): StorageError {
  return new StorageError("io", `${basename(path)} took longer than ${limitMs / 1000} s: ${what}`, {
    layer: "plan",
    hint: "the kernel's log (dmesg) tells what it waits for",
  });
}
