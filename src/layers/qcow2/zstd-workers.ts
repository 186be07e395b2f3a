import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

/** More would wait for the reading and writing beside them, and each has some 20 MiB of its own. */
const MOST = 3;

/** Memory that goes to a worker and comes back. */
export interface Memory {
  readonly input: Uint8Array<ArrayBuffer>;
  readonly out: Uint8Array<ArrayBuffer>;
}

/** Where a frame lies in the input. */
export interface Frame {
  readonly start: number;
  readonly length: number;
}

interface Job extends Memory {
  readonly frames: readonly Frame[];
  /** Bytes that each frame gives. */
  readonly size: number;
}

interface Done extends Memory {
  /** Every frame gave exactly the bytes that were asked for. */
  readonly whole: boolean;
}

/**
 * Runs in the worker. It finds zstddec by the URL that it is given, wherever this program lies. The package's decode() allocates memory for
 * each frame and a copy of the result, so its WebAssembly module is called directly: instantiate() shows it, as long as it is made in this
 * way, and without fetch(), which takes longer to load than the module.
 */
const PROGRAM = `
const { parentPort, workerData } = require("node:worker_threads");
const { instantiate } = WebAssembly;
let wasm = null;
WebAssembly.instantiate = async (...from) => {
  const made = await instantiate(...from);
  wasm = made.instance.exports;
  return made;
};
globalThis.fetch = undefined;
const ready = import(workerData).then(({ ZSTDDecoder }) => new ZSTDDecoder().init());
let room = 0;
let place = 0;
let given = 0;
let from = 0;
function expand(frame, size, out, at) {
  if (room < size) {
    place = wasm.malloc(size);
    room = size;
  }
  if (given < frame.length) {
    given = Math.max(frame.length, size);
    from = wasm.malloc(given);
  }
  if (place === 0 || from === 0) throw new Error("no memory");
  new Uint8Array(wasm.memory.buffer).set(frame, from);
  if (wasm.ZSTD_decompress(place, size, from, frame.length) !== size) throw new Error("damaged");
  out.set(new Uint8Array(wasm.memory.buffer, place, size), at);
}
parentPort.on("message", async ({ input, frames, out, size }) => {
  let whole = true;
  try {
    await ready;
    for (const [i, { start, length }] of frames.entries()) expand(input.subarray(start, start + length), size, out, i * size);
  } catch {
    whole = false;
  }
  parentPort.postMessage({ input, out, whole }, [input.buffer, out.buffer]);
});
`;

/** One thread, and the jobs that it has, oldest first. */
class Expander {
  readonly #worker: Worker;
  readonly #waiting: ((done: Done | null) => void)[] = [];
  #broken = false;

  constructor(decoder: string) {
    this.#worker = new Worker(PROGRAM, { eval: true, workerData: decoder, execArgv: [], env: {} });
    this.#worker.on("message", (done: Done) => this.#settle(done));
    // The thread could not start, or ran out of memory.
    this.#worker.on("error", () => this.#end());
    this.#worker.on("exit", () => this.#end());
    // An idle one keeps no command from ending.
    this.#worker.unref();
  }

  get busy(): number {
    return this.#broken ? Number.POSITIVE_INFINITY : this.#waiting.length;
  }

  /** Null when the thread is gone. */
  run(job: Job): Promise<Done | null> {
    return new Promise((resolve) => {
      if (this.#broken) return resolve(null);
      this.#waiting.push(resolve);
      this.#worker.ref();
      this.#worker.postMessage(job, [job.input.buffer, job.out.buffer]);
    });
  }

  #settle(done: Done | null): void {
    this.#waiting.shift()?.(done);
    if (this.#waiting.length === 0) this.#worker.unref();
  }

  #end(): void {
    this.#broken = true;
    while (this.#waiting.length > 0) this.#settle(null);
  }
}

let expanders: Expander[] | undefined;
/** Of jobs that are done, for the next ones. */
const spare: Memory[] = [];

/** Memory for a job: at least so many bytes to expand, and to expand them into. */
export function takeMemory(input: number, out: number): Memory {
  const known = spare.pop();
  if (known && known.input.length >= input && known.out.length >= out) return known;
  return { input: new Uint8Array(Math.max(input, out)), out: new Uint8Array(out) };
}

export function giveMemory(memory: Memory): void {
  if (spare.length < 2 * MOST) spare.push(memory);
}

/**
 * Expands zstd frames that lie in `memory.input` on another thread, in a WebAssembly decoder as elsewhere. Gives the memory back with the
 * n-th frame's bytes at n × `size` of `out`. Null when one is damaged or the threads do not work: they are then to be expanded one by one,
 * which tells what is wrong with which.
 */
export async function expandAside(memory: Memory, frames: readonly Frame[], size: number): Promise<Memory | null> {
  expanders ??= start();
  const expander = expanders.reduce((least, next) => (next.busy < least.busy ? next : least));
  const done = await expander.run({ ...memory, frames, size });
  if (done === null) return null;
  const { input, out, whole } = done;
  if (whole) return { input, out };
  giveMemory({ input, out });
  return null;
}

function start(): Expander[] {
  const decoder = pathToFileURL(createRequire(import.meta.url).resolve("zstddec")).href;
  return Array.from({ length: Math.min(availableParallelism(), MOST) }, () => new Expander(decoder));
}
