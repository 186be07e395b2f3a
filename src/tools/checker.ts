import { spawnSync } from "node:child_process";
import { printable } from "../bytes/text.ts";
import { describeError, type StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";

/** What a volume's check comes to; other programs rely on these words. */
export type Verdict = "clean" | "would-repair" | "repaired" | "errors-left" | "not-checked";

/**
 * fix: repair all that can be repaired. preen: only what is safe without a question, stop at the rest.
 * look: change nothing, not even replay a journal. zero-log: fix, and throw the journal away (XFS only).
 */
export type CheckMode = "fix" | "preen" | "look" | "zero-log";

/** How a checker's run ended. */
export interface Outcome {
  readonly mode: CheckMode;
  /** The changes are (or are about to be) written to the source; false in a preview, which throws them away. */
  readonly commit: boolean;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly cancelled: boolean;
  readonly deviceError: StorageError | null;
  /** All that it wrote, standard output and error in their order. */
  readonly output: string;
  /** Bytes that differ from before. A checker may write and still exit with 0. */
  readonly changedBytes: number;
}

export interface Judgement {
  readonly verdict: Verdict;
  /** One sentence for a person; null when the verdict says it all. */
  readonly reason: string | null;
  /** The journal could not be replayed: `zero-log` would go on without it. */
  readonly dirtyLog?: true;
}

/** A program that checks one kind of file system on a file. */
export interface Checker {
  readonly name: string;
  /** The package that has it, by the name in Debian. */
  readonly packageName: string;
  /** False: `argv` refuses every mode but `look`; the reason is `repairRefused`. */
  readonly repairs: boolean;
  readonly repairRefused: string | null;
  /** It changes what is sound as well: run it in the mode `look` first, and repair only what that finds damaged. */
  readonly lookFirst: boolean;
  /**
   * Its exit code does not tell whether a repair mended everything: run it again in this mode on the result; the repair
   * stands only when that run is `clean`. Null: the exit code tells.
   */
  readonly confirmWith: CheckMode | null;
  /** Files of the host that it may read. */
  readonly configFiles: readonly string[];
  /** Absolute path, or null when it is not installed. */
  find(searchPath?: string): string | null;
  /** As in a report: `e2fsck 1.47.0`; null when it says none. */
  version(path: string): string | null;
  /** The same from what a run of it printed, which saves a start of it; null when it did not say. */
  versionIn?(output: string): string | null;
  /** `file` as the checker sees it. `progressFd` null: it is not asked for progress. Throws `unsupported` for refused modes. */
  argv(path: string, mode: CheckMode, file: string, progressFd: number | null): string[];
  /** Pure. */
  interpret(outcome: Outcome): Judgement;
}

/** Version queries read no guest bytes and end at once. */
const VERSION_TIMEOUT_MS = 5000;

export function findAny(names: readonly string[], searchPath?: string): string | null {
  for (const name of names) {
    const path = findProgram(name, searchPath);
    if (path) return path;
  }
  return null;
}

/** Runs `path args` and returns `name` and what `pattern` captures in its output. */
export function queryVersion(path: string, args: readonly string[], name: string, pattern: RegExp): string | null {
  const run = spawnSync(path, args, {
    encoding: "utf8",
    timeout: VERSION_TIMEOUT_MS,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C" },
  });
  const match = pattern.exec(`${run.stdout ?? ""}\n${run.stderr ?? ""}`);
  return match?.[1] === undefined ? null : `${name} ${match[1]}`;
}

/** The reason where a file system is newer than its checker. */
export function tooOld(name: string, features?: string): string {
  return `tool too old: this ${name} does not know ${features || "all of the file system's features"}`;
}

export function notChecked(reason: string): Judgement {
  return { verdict: "not-checked", reason };
}

/** What is the same for every checker: an end that is no verdict. Null when it ended by itself with an exit code. */
export function interrupted(name: string, o: Outcome): Judgement | null {
  // First: what the checker said after a failed read or write may be about the failure, not about the file system.
  if (o.deviceError) return notChecked(`the disk below failed while ${name} used it: ${describeError(o.deviceError)}`);
  if (o.cancelled) return notChecked("cancelled");
  if (o.timedOut) return notChecked(`${name} was stopped because it ran longer than the time limit`);
  if (o.signal !== null) return notChecked(`${name} crashed or was killed (${o.signal})`);
  if (o.exitCode === null) return notChecked(`${name} ended without an exit code`);
  return null;
}

/** Longest reason taken from a checker's own words. */
const MAX_QUOTED = 300;

/** The last line that says something, for a reason. */
export function lastLine(output: string): string {
  const lines = output.split("\n").map((l) => printable(l.trim()));
  return (lines.findLast((l) => l !== "") ?? "no message").slice(0, MAX_QUOTED);
}
