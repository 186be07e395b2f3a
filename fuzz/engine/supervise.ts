import { Worker } from "node:worker_threads";
import type { Verdict } from "./oracle.ts";
import { seedFor } from "./random.ts";
import { SharedState } from "./shared.ts";
import type { SparseJson } from "./sparse.ts";
import type { WorkerMessage, WorkerTask } from "./worker.ts";

/** Processor time that one input may take, and wall-clock time on a busy machine; milliseconds. */
const CPU_MS = 2_000;
const WALL_MS = 20_000;
const LOOK_EVERY_MS = 100;
/** Heap of the fuzzing thread, and what the process may grow by. */
const HEAP_MB = 256;
const GROWTH = 768 * 1024 * 1024;
/** A target that keeps on hanging is given up. */
const MAX_RESTARTS = 20;

export interface Finding {
  readonly target: string;
  readonly verdict: Verdict;
  readonly input: readonly SparseJson[];
}

export interface Job {
  readonly script: URL;
  readonly target: string;
  readonly seed: number;
  readonly runs: number;
  readonly seconds: number;
  readonly first: boolean;
}

export interface JobResult {
  readonly runs: number;
  readonly characters: number;
  readonly corpus: number;
  readonly findings: readonly Finding[];
}

/** Fuzzes one target in a thread of its own; one that hangs or runs out of memory is replaced and the input reported. */
export async function fuzz(job: Job): Promise<JobResult> {
  const findings = new Map<string, Finding>();
  const corpus: (readonly SparseJson[])[] = [];
  const began = performance.now();
  let runs = 0;
  let last = { runs: 0, characters: 0, corpus: 0 };
  for (let restart = 0; restart <= MAX_RESTARTS; restart++) {
    const seconds = job.seconds - (performance.now() - began) / 1000;
    if (seconds <= 0 || runs >= job.runs || (job.first && findings.size > 0)) break;
    const state = new SharedState();
    const task: WorkerTask = {
      target: job.target,
      seed: seedFor(job.seed, `${job.target} ${restart}`),
      corpus,
      runs: job.runs - runs,
      seconds,
      first: job.first,
      buffer: state.buffer,
    };
    const end = await one(job.script, task, state, (message) => {
      if (message.type === "kept") corpus.push(message.input);
      else if (message.type === "finding")
        findings.set(message.verdict.key, { target: job.target, verdict: message.verdict, input: message.input });
      else last = message;
    });
    runs += last.runs;
    if (!end) return { ...last, runs, findings: [...findings.values()] };
    const input = state.input().map((part) => part.toJson());
    const key = end.kind === "hang" ? `${end.kind} ${findings.size}` : end.key;
    findings.set(key, { target: job.target, verdict: { ...end, key }, input });
  }
  return { ...last, runs, findings: [...findings.values()] };
}

/** Null when the thread came to its end, else what is wrong with the input that it was at. */
function one(
  script: URL,
  task: WorkerTask,
  state: SharedState,
  onMessage: (message: WorkerMessage) => void,
): Promise<Verdict | null> {
  return new Promise((resolve) => {
    const worker = new Worker(script, { workerData: task, resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });
    let done = false;
    let stopped = false;
    const finish = (verdict: Verdict | null): void => {
      if (stopped) return;
      stopped = true;
      clearInterval(clock);
      void worker.terminate().then(() => resolve(verdict));
    };
    const stop = watch(state, finish);
    const clock = setInterval(stop, LOOK_EVERY_MS);
    worker.on("message", (message: WorkerMessage) => {
      onMessage(message);
      if (message.type === "done") done = true;
    });
    worker.on("error", (error) => finish(crash(error)));
    worker.on("exit", () => {
      if (stopped) return;
      clearInterval(clock);
      resolve(done ? null : crash(new Error("the thread ended: a promise that is never settled")));
    });
  });
}

/** A look at the clock and at the memory. */
function watch(state: SharedState, finish: (verdict: Verdict) => void): () => void {
  const rss = process.memoryUsage.rss();
  let run = -1;
  let cpu = process.cpuUsage();
  let wall = performance.now();
  return () => {
    if (state.run !== run || !state.running) {
      run = state.run;
      cpu = process.cpuUsage();
      wall = performance.now();
    }
    const used = process.cpuUsage(cpu);
    const cpuMs = (used.user + used.system) / 1000;
    const wallMs = performance.now() - wall;
    const grown = process.memoryUsage.rss() - rss;
    if (state.running && (cpuMs > CPU_MS || wallMs > WALL_MS))
      finish(plain("hang", `no end after ${Math.round(cpuMs)} ms of processor time, ${Math.round(wallMs)} ms`));
    else if (state.running && grown > GROWTH) finish(plain("cost", `the process grew by ${grown} bytes`));
  };
}

function plain(kind: Verdict["kind"], message: string): Verdict {
  return { kind, message, key: `${kind} ${message.replaceAll(/\d+/g, "N")}`, stack: "" };
}

function crash(error: Error): Verdict {
  const stack = error.stack ?? "";
  const where = /src\/[^)\n]*/.exec(stack)?.[0] ?? "";
  return { kind: "crash", message: error.message, key: `crash ${error.name} ${error.message} ${where}`, stack };
}
