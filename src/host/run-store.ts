import { randomInt } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import type { Finding, Json } from "../core/finding.ts";
import { syncPath } from "../core/sync-path.ts";
import { type Owner, thisProcess } from "./owner.ts";
import { maySameSource, type SourceIdentity } from "./source-identity.ts";

/**
 * running: its process may still write. committed: ended as meant. rolled-back: nothing of it is left in the sources.
 * interrupted: the process died; batches that were complete are in the sources and can be undone.
 * undoing: `undo` has begun to write; the next command completes it. undone: the sources are as before the run.
 * accepted: what it changed stays for good; its undo logs are deleted.
 */
const STATUSES = ["running", "committed", "rolled-back", "interrupted", "undoing", "undone", "accepted"] as const;

export type RunStatus = (typeof STATUSES)[number];

export interface RunSource extends SourceIdentity {
  /** As the user gave it. */
  readonly path: string;
  /** File name of the undo log in the run's folder; it exists once something was changed. */
  readonly log: string;
}

/** run.json. */
export interface RunRecord {
  readonly schema: "unterbau/run/1";
  readonly run: string;
  readonly verb: string;
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly ended: string | null;
  readonly status: RunStatus;
  readonly owner: Owner;
  readonly sources: readonly RunSource[];
  /** Volumes with their verdicts, as the verb reports them. */
  readonly volumes: readonly Json[];
  /** Versions of the outside programs that took part. */
  readonly tools: { readonly [name: string]: string };
}

export interface StoredRun {
  readonly folder: string;
  readonly record: RunRecord;
}

/** `RUN` as users type it: letters that cannot be mistaken for others. */
const SUFFIX_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz";
const RECORD_FILE = "run.json";
/** A run.json beyond this is not ours. */
const MAX_RECORD_BYTES = 64 * 1024 * 1024;

/** Where runs are kept: $UNTERBAU_STATE_DIR, else /var/lib/unterbau for root, else below $XDG_STATE_HOME or ~/.local/state. */
export function stateDir(environment: NodeJS.ProcessEnv = process.env): string {
  const named = environment.UNTERBAU_STATE_DIR;
  if (named) return named;
  if (process.getuid?.() === 0) return SYSTEM_STATE;
  return userState(environment);
}

const SYSTEM_STATE = "/var/lib/unterbau";

function userState(environment: NodeJS.ProcessEnv): string {
  // XDG Base Directory Specification: a relative path is invalid and ignored.
  const xdg = environment.XDG_STATE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".local", "state"), "unterbau");
}

/** All folders that recovery looks into: the one in use, root's and the user's. */
export function stateDirs(environment: NodeJS.ProcessEnv = process.env): string[] {
  if (environment.UNTERBAU_STATE_DIR) return [environment.UNTERBAU_STATE_DIR];
  return [...new Set([stateDir(environment), SYSTEM_STATE, userState(environment)])];
}

export interface NewRun {
  readonly verb: string;
  readonly sources: readonly (SourceIdentity & { readonly path: string })[];
  readonly tools?: { readonly [name: string]: string } | undefined;
}

/** Creates the folder of a new run (mode 0700) with its run.json. Throws `io` with a hint when the state folder cannot be used. */
export function createRun(state: string, run: NewRun, now: Date = new Date()): StoredRun {
  try {
    mkdirSync(join(state, "runs"), { recursive: true, mode: 0o700 });
    for (;;) {
      const id = newRunId(now);
      const folder = join(state, "runs", id);
      try {
        mkdirSync(folder, { mode: 0o700 });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") continue;
        throw error;
      }
      chmodSync(folder, 0o700);
      const record: RunRecord = {
        schema: "unterbau/run/1",
        run: id,
        verb: run.verb,
        started: now.toISOString(),
        ended: null,
        status: "running",
        owner: thisProcess(),
        sources: run.sources.map((s, i) => ({ ...s, log: `undo-${i}.log` })),
        volumes: [],
        tools: run.tools ?? {},
      };
      writeRecord(folder, record);
      syncPath(dirname(folder));
      return { folder, record };
    }
  } catch (error) {
    throw ioError(error, `cannot keep a run in ${state}`, {
      layer: "runs",
      hint: "choose a folder that can be written to with UNTERBAU_STATE_DIR",
    });
  }
}

/** The run as its run.json says now. Throws `io` when it is gone. */
export function reloadRun(run: StoredRun): StoredRun {
  try {
    return { folder: run.folder, record: readRecord(run.folder, run.record.run) };
  } catch (error) {
    throw ioError(error, `cannot read run ${run.record.run}`, { layer: "runs" });
  }
}

/** Replaces fields of run.json, atomically and durably. Reads nothing: the caller holds the run. */
export function updateRun(
  run: StoredRun,
  change: Partial<Pick<RunRecord, "status" | "ended" | "volumes" | "tools" | "owner">>,
): StoredRun {
  const record = { ...run.record, ...change };
  writeRecord(run.folder, record);
  return { folder: run.folder, record };
}

export interface RunList {
  /** Oldest first. */
  readonly runs: readonly StoredRun[];
  /** Folders that could not be read: what is in them is unknown, so a crash may have gone unnoticed. */
  readonly findings: readonly Finding[];
}

/** All runs of the given state folders. A state folder that is not there holds none. */
export function listRuns(states: readonly string[]): RunList {
  const runs: StoredRun[] = [];
  const findings: Finding[] = [];
  for (const state of states) {
    let names: string[] = [];
    try {
      names = readdirSync(join(state, "runs"));
    } catch (error) {
      if (!isMissing(error)) findings.push(unreadable(join(state, "runs"), error));
    }
    for (const name of names) {
      if (!RUN_ID.test(name)) continue;
      const folder = join(state, "runs", name);
      try {
        runs.push({ folder, record: readRecord(folder, name) });
      } catch (error) {
        // A crash before run.json got its name: nothing was opened yet.
        if (!isMissing(error)) findings.push(unreadable(folder, error));
      }
    }
  }
  runs.sort((a, b) => (age(a) < age(b) ? -1 : 1));
  return { runs, findings };
}

/** Sorts runs by their start: run ids count whole seconds only, and a second is long enough for two runs over one disk. */
function age({ record }: StoredRun): string {
  return `${record.started} ${record.run}`;
}

/** The one run whose id starts with `prefix`, or ends with it (the four letters). Throws `usage` for none or several. */
export function findRun(states: readonly string[], prefix: string): StoredRun {
  const { runs } = listRuns(states);
  const found =
    prefix === "" ? [] : runs.filter(({ record: { run } }) => run.startsWith(prefix) || run.endsWith(`-${prefix}`));
  const exact = found.find((r) => r.record.run === prefix) ?? (found.length === 1 ? found[0] : undefined);
  if (exact) return exact;
  throw new StorageError(
    "usage",
    found.length === 0
      ? `there is no run ${prefix}`
      : `${prefix} could be ${found.map((r) => r.record.run).join(", ")}`,
    { layer: "runs", hint: "`unterbau runs` lists them" },
  );
}

/** Runs that are not over (running, undoing) and have a source that may be `identity`; oldest first. */
export function pendingRunsFor(states: readonly string[], identity: SourceIdentity): RunList {
  const { runs, findings } = listRuns(states);
  const pending = runs.filter(
    ({ record }) =>
      (record.status === "running" || record.status === "undoing") &&
      record.sources.some((s) => maySameSource(s, identity)),
  );
  return { runs: pending, findings };
}

const RUN_ID = /^\d{8}-\d{6}-[a-z0-9]{4}$/;

export function newRunId(now: Date): string {
  const time = now.toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  const suffix = Array.from({ length: 4 }, () => SUFFIX_LETTERS[randomInt(SUFFIX_LETTERS.length)]).join("");
  return `${time}-${suffix}`;
}

function writeRecord(folder: string, record: RunRecord): void {
  const path = join(folder, RECORD_FILE);
  const temporary = `${path}.new`;
  try {
    const fd = openSync(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      writeFileSync(fd, `${JSON.stringify(record, null, 2)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncPath(folder);
  } catch (error) {
    throw ioError(error, `cannot write ${path}`, { layer: "runs" });
  }
}

function readRecord(folder: string, name: string): RunRecord {
  const text = readFileSync(join(folder, RECORD_FILE), "utf8");
  if (text.length > MAX_RECORD_BYTES) throw new Error("run.json is too long");
  const value = JSON.parse(text) as Partial<RunRecord> | null;
  const valid =
    value !== null &&
    typeof value === "object" &&
    value.schema === "unterbau/run/1" &&
    value.run === name &&
    STATUSES.includes(value.status!) &&
    typeof value.owner?.pid === "number" &&
    Array.isArray(value.sources) &&
    // The log is opened by this name: it must not lead out of the folder.
    value.sources.every((s: RunSource | null) => typeof s?.realpath === "string" && /^undo-\d+\.log$/.test(s.log));
  if (!valid) throw new Error("run.json is not one of unterbau/run/1");
  return value as RunRecord;
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR";
}

function unreadable(path: string, error: unknown): Finding {
  return {
    // Root's runs are not for others to see: that is no fault.
    severity: (error as NodeJS.ErrnoException).code === "EACCES" ? "info" : "warning",
    code: "run-unreadable",
    message: `${path} cannot be read, so an interrupted run in it would go unnoticed: ${error instanceof Error ? error.message : String(error)}`,
    layer: "runs",
  };
}
