import { parentPort, workerData } from "node:worker_threads";
import { targetNamed } from "../targets/index.ts";
import { Coverage } from "./coverage.ts";
import { Loop } from "./loop.ts";
import { countAllocations, type Verdict } from "./oracle.ts";
import { SharedState } from "./shared.ts";
import { Sparse, type SparseJson } from "./sparse.ts";

/** The fuzzing thread's task. */
export interface WorkerTask {
  readonly target: string;
  readonly seed: number;
  readonly corpus: readonly (readonly SparseJson[])[];
  /** Ends after so many inputs, or seconds, whatever comes first. */
  readonly runs: number;
  readonly seconds: number;
  /** Ends with the first finding. */
  readonly first: boolean;
  readonly buffer: SharedArrayBuffer;
}

export type WorkerMessage =
  | { readonly type: "kept"; readonly input: readonly SparseJson[] }
  | { readonly type: "finding"; readonly verdict: Verdict; readonly input: readonly SparseJson[] }
  | { readonly type: "progress" | "done"; readonly runs: number; readonly characters: number; readonly corpus: number };

/** A single buffer above this is a finding: nothing that a parser holds is larger than the largest table that a limit allows. */
const MOST_AT_ONCE = 128 * 1024 * 1024;

process.setSourceMapsEnabled(true);
const task = workerData as WorkerTask;
const port = parentPort!;
const post = (message: WorkerMessage): void => port.postMessage(message);
const coverage = new Coverage("/worker.mjs");
let found = false;
const until = performance.now() + 1000 * task.seconds;

const loop = new Loop({
  target: targetNamed(task.target),
  seed: task.seed,
  corpus: task.corpus.map((parts) => parts.map(Sparse.fromJson)),
  coverage,
  state: new SharedState(task.buffer),
  onKept: (input) => post({ type: "kept", input: input.map((part) => part.toJson()) }),
  onFinding: (verdict, input) => {
    found = true;
    post({ type: "finding", verdict, input: input.map((part) => part.toJson()) });
  },
  onBatch: () => progress("progress"),
  goOn: (runs) => !(task.first && found) && runs < task.runs && performance.now() < until,
});

function progress(type: "progress" | "done"): void {
  post({ type, runs: loop.runs, characters: coverage.characters, corpus: loop.corpus });
}

await coverage.start();
countAllocations(MOST_AT_ONCE);
await loop.run();
progress("done");
