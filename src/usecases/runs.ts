import { listRuns, type RunRecord, stateDirs } from "../host/run-store.ts";
import type { FindingDocument, Json } from "./documents.ts";

/** One entry of `unterbau runs`. */
export interface RunDocument {
  readonly run: string;
  readonly verb: string;
  /** ISO 8601, UTC. */
  readonly started: string;
  readonly ended: string | null;
  /** running, committed, rolled-back, interrupted, undoing, undone, accepted. */
  readonly status: string;
  /** Absolute paths, symbolic links resolved when the run began. */
  readonly sources: readonly string[];
  readonly volumes: readonly Json[];
  readonly tools: { readonly [name: string]: string };
}

export interface RunsDocument {
  readonly schema: "unterbau/runs/1";
  readonly runs: readonly RunDocument[];
  readonly findings: readonly FindingDocument[];
}

/** The runs of root and of this user, oldest first. */
export function runs(): RunsDocument {
  const list = listRuns(stateDirs());
  return {
    schema: "unterbau/runs/1",
    runs: list.runs
      .map(({ record }) => record)
      .sort(byStart)
      .map((r) => ({
        run: r.run,
        verb: r.verb,
        started: r.started,
        ended: r.ended,
        status: r.status,
        sources: r.sources.map((s) => s.realpath),
        volumes: r.volumes,
        tools: r.tools,
      })),
    findings: list.findings,
  };
}

function byStart(a: RunRecord, b: RunRecord): number {
  return a.started < b.started ? -1 : a.started > b.started ? 1 : 0;
}
