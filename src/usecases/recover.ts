import type { Finding } from "../core/finding.ts";
import { isAlive } from "../host/owner.ts";
import { pendingRunsFor, type StoredRun, stateDirs } from "../host/run-store.ts";
import { type SourceIdentity, sourceIdentity } from "../host/source-identity.ts";
import type { RecoveredRun } from "./recover-run.ts";

export interface RecoveryReport {
  readonly runs: readonly RecoveredRun[];
  /** State folders that cannot be read. */
  readonly findings: readonly Finding[];
  /** True when a source may hold half of a change: it must not be trusted, nor written. */
  readonly unresolved: boolean;
  /** All of it in sentences for a person, one line each. */
  readonly messages: readonly string[];
}

export interface RecoverOptions {
  /** Default: `stateDirs()`. */
  readonly stateDirs?: readonly string[] | undefined;
}

/**
 * Looks for runs on these sources that a crash cut short, and takes their last batch back (or completes their undo). Every command
 * calls it before it opens its sources. Null: nothing was found. Idempotent, and may be killed at any moment itself.
 * It sees the runs of root and of the current user only.
 */
export async function recoverSource(
  paths: readonly string[],
  options: RecoverOptions = {},
): Promise<RecoveryReport | null> {
  const states = options.stateDirs ?? stateDirs();
  const pending = new Map<string, StoredRun>();
  const findings = new Map<string, Finding>();
  for (const identity of paths.flatMap(identityOf)) {
    const list = pendingRunsFor(states, identity);
    for (const run of list.runs) pending.set(run.folder, run);
    for (const finding of list.findings) findings.set(finding.message, finding);
  }
  const runs: RecoveredRun[] = [];
  // Newest first: of two half-applied batches on one source the later one lies on top.
  for (const run of [...pending.values()].reverse()) {
    if (isAlive(run.record.owner)) continue;
    // Loaded only here: crashes are rare.
    const { recoverRun } = await import("./recover-run.ts");
    runs.push(await recoverRun(run));
  }
  if (runs.length === 0 && findings.size === 0) return null;
  const unresolved = runs.some(({ outcome }) => outcome === "refused" || outcome === "blocked");
  const messages = [...runs.map(sentence), ...[...findings.values()].map((f) => f.message)];
  return { runs, findings: [...findings.values()], unresolved, messages };
}

function sentence({ run, verb, outcome, reason, hint }: RecoveredRun): string {
  const what = `run ${run} (${verb}) was interrupted`;
  switch (outcome) {
    case "rolled-back":
      return `${what} while it wrote: its unfinished change was taken back`;
    case "interrupted":
      return `${what} between changes: the sources are consistent; \`unterbau undo ${run}\` takes back what it had committed, if anything`;
    case "undo-completed":
      return `the undo of run ${run} was interrupted: it is complete now`;
    default:
      return `${what} and cannot be recovered now: ${reason ?? outcome}${hint === null ? "" : ` (${hint})`}`;
  }
}

/** A path that is not there has no runs: the command itself will say so. */
function identityOf(path: string): SourceIdentity[] {
  try {
    return [sourceIdentity(path)];
  } catch {
    return [];
  }
}
