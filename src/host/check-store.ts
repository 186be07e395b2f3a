import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateDir, stateDirs } from "./run-store.ts";
import type { SourceIdentity } from "./source-identity.ts";

/**
 * What the last check of a source came to. Nothing of the guest's is in it, neither names of volumes nor what a checker printed: the
 * source may be encrypted, and this file is not.
 */
export interface CheckRecord {
  readonly schema: "unterbau/checked/1";
  readonly source: string;
  /** ISO 8601, UTC: when the check ended. */
  readonly checked: string;
  readonly mode: "preview" | "repair" | "live";
  /** The worst of all volumes. */
  readonly verdict: string;
  /** How many volumes have which verdict. */
  readonly volumes: { readonly [verdict: string]: number };
  /** False: only volumes that the user chose. */
  readonly complete: boolean;
}

const SCHEMA = "unterbau/checked/1";
const ENDING = ".json";
const MAX_BYTES = 64 * 1024;

/** Block devices are known by what stays the same after a reboot, files by their path: a file that is replaced takes the name over. */
function fileFor(state: string, identity: SourceIdentity): string {
  const key = createHash("sha256")
    .update(identity.stableId ?? identity.realpath)
    .digest("hex")
    .slice(0, 32);
  return join(state, "checks", `${key}${ENDING}`);
}

/** Has what `recordCheck` needs loaded: Node's module for hashes takes some milliseconds at its first use. */
export function getReadyToRecord(): void {
  createHash("sha256");
}

/** Remembers a check in place of the one before. Throws when the state folder cannot be written to. */
export function recordCheck(identity: SourceIdentity, record: Omit<CheckRecord, "schema" | "source">): void {
  const path = fileFor(stateDir(), identity);
  mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomUUID()}`;
  const whole: CheckRecord = { schema: SCHEMA, source: identity.realpath, ...record };
  try {
    writeFileSync(temporary, `${JSON.stringify(whole)}\n`, { mode: 0o600, flag: "wx" });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** The newest record of all state folders that can be read; null: none is known. */
export function lastCheck(identity: SourceIdentity, states: readonly string[] = stateDirs()): CheckRecord | null {
  const found = states.flatMap((state) => {
    try {
      const text = readFileSync(fileFor(state, identity), "utf8");
      const value = text.length > MAX_BYTES ? null : (JSON.parse(text) as Partial<CheckRecord> | null);
      return value?.schema === SCHEMA && typeof value.checked === "string" && typeof value.verdict === "string"
        ? [value as CheckRecord]
        : [];
    } catch {
      return [];
    }
  });
  return found.sort((a, b) => (a.checked < b.checked ? 1 : -1))[0] ?? null;
}

/** Removes what was remembered of checks that ended before `before`, in all of these folders; how many. Throws nothing. */
export function pruneChecks(before: Date, states: readonly string[] = stateDirs()): number {
  let removed = 0;
  for (const state of states) {
    const folder = join(state, "checks");
    for (const name of attempt(() => readdirSync(folder)) ?? []) {
      const path = join(folder, name);
      const ended = attempt(() => endOf(path, name));
      if (ended === null || !(ended <= before.getTime())) continue;
      const gone = attempt(() => {
        rmSync(path);
        return true;
      });
      if (gone && name.endsWith(ENDING)) removed++;
    }
  }
  return removed;
}

/** When the check ended; of what is no record (a half one, of a command that was killed), when it was written. */
function endOf(path: string, name: string): number {
  const stat = statSync(path);
  if (name.endsWith(ENDING) && stat.size <= MAX_BYTES) {
    const value = attempt(() => JSON.parse(readFileSync(path, "utf8")) as Partial<CheckRecord> | null);
    const checked = Date.parse(value?.checked ?? "");
    if (!Number.isNaN(checked)) return checked;
  }
  return stat.mtimeMs;
}

/** Null: it failed. */
function attempt<T>(act: () => T): T | null {
  try {
    return act();
  } catch {
    return null;
  }
}

/** After an undo: what was found then is no longer what is there. */
export function forgetCheck(identity: SourceIdentity): void {
  for (const state of stateDirs()) {
    try {
      rmSync(fileFor(state, identity), { force: true });
    } catch {
      // Another user's: what it says is compared with the time of the last change when it is shown.
    }
  }
}
