import type { Coverage } from "./coverage.ts";
import { minimise } from "./minimise.ts";
import { type Hot, mutate } from "./mutate.ts";
import { type RunOutcome, runOnce, type Verdict } from "./oracle.ts";
import { Random } from "./random.ts";
import type { SharedState } from "./shared.ts";
import { cloneInput, type Input } from "./sparse.ts";
import type { Target } from "./target.ts";

/** Inputs between two looks at the coverage. Fixed, so that a run depends on its seed alone. */
const BATCH = 128;
const FIX_CHANCE = 0.85;
const MINIMISE_RUNS = 400;
const MAX_CORPUS = 4000;
/** Messages may carry words of the input, so there is no end of new ones. */
const MAX_REFUSALS = 400;

interface Kept {
  readonly input: Input;
  readonly hot: Hot;
}

export interface LoopOptions {
  readonly target: Target;
  readonly seed: number;
  /** Inputs found by an earlier loop that was stopped. */
  readonly corpus: readonly Input[];
  readonly coverage: Coverage;
  readonly state: SharedState;
  readonly onKept: (input: Input) => void;
  readonly onBatch: () => void;
  readonly onFinding: (verdict: Verdict, input: Input) => void;
  /** Asked before each input. */
  readonly goOn: (runs: number) => boolean;
}

/** Mutates, runs, keeps what reaches something new; until `goOn` says no. */
export class Loop {
  readonly #o: LoopOptions;
  readonly #random: Random;
  readonly #corpus: Kept[] = [];
  readonly #refusals = new Set<string>();
  readonly #findings = new Set<string>();
  readonly #tokens: readonly Uint8Array[];
  runs = 0;

  constructor(options: LoopOptions) {
    this.#o = options;
    this.#random = new Random(options.seed);
    this.#tokens = (options.target.tokens ?? []).map((t) => Buffer.from(t, "latin1"));
  }

  get corpus(): number {
    return this.#corpus.length;
  }

  async run(): Promise<void> {
    for (const input of [...(await this.#o.target.seeds()), ...this.#o.corpus]) {
      const outcome = await this.#once(input);
      this.#remember(outcome);
      if (!outcome.verdict) this.#corpus.push({ input, hot: outcome.meter.hot });
    }
    this.#o.coverage.settle(await this.#o.coverage.peek());
    if (this.#corpus.length === 0) throw new Error(`every seed of ${this.#o.target.name} is a finding`);
    while (this.#o.goOn(this.runs)) {
      await this.#batch();
      this.#o.onBatch();
    }
  }

  async #batch(): Promise<void> {
    const ran: { input: Input; outcome: RunOutcome }[] = [];
    for (let i = 0; i < BATCH && this.#o.goOn(this.runs); i++) {
      const input = this.#next();
      const outcome = await this.#once(input);
      if (!outcome.verdict && this.#remember(outcome)) this.#keep(input, outcome);
      else if (!outcome.verdict) ran.push({ input, outcome });
    }
    const fresh = await this.#o.coverage.peek();
    if (fresh.length === 0) return;
    await this.#attribute(ran.map(({ input }) => input));
    // What did not come a second time was no input's doing.
    this.#o.coverage.settle(fresh);
  }

  /** Keeps those of `inputs` that reach something new, by halves: a look at the coverage costs as much as many runs. */
  async #attribute(inputs: readonly Input[]): Promise<void> {
    const half = Math.ceil(inputs.length / 2);
    for (const part of [inputs.slice(0, half), inputs.slice(half)]) {
      if (!this.#o.goOn(this.runs)) return;
      let outcome: RunOutcome | null = null;
      for (const input of part) outcome = await this.#once(input);
      const fresh = await this.#o.coverage.peek();
      if (fresh.length === 0 || !outcome) continue;
      if (part.length > 1) {
        await this.#attribute(part);
        continue;
      }
      if (!outcome.verdict) this.#keep(part[0]!, outcome);
      this.#o.coverage.settle(fresh);
    }
  }

  #next(): Input {
    const random = this.#random;
    // Half of the time the newest: what was found last is what was looked into least.
    const recent = random.chance(0.5) ? Math.max(0, this.#corpus.length - 1 - random.below(16)) : null;
    const parent = recent === null ? random.pick(this.#corpus) : this.#corpus[recent]!;
    const out = mutate(parent.input, parent.hot, random.pick(this.#corpus).input, this.#tokens, random);
    if (this.#o.target.fix && random.chance(FIX_CHANCE)) this.#o.target.fix(out, random);
    return out;
  }

  async #once(input: Input): Promise<RunOutcome> {
    this.runs++;
    this.#o.state.begin(input);
    const outcome = await runOnce(this.#o.target, input);
    this.#o.state.end();
    if (outcome.verdict && !this.#findings.has(outcome.verdict.key)) {
      this.#findings.add(outcome.verdict.key);
      await this.#report(outcome.verdict, input);
    }
    return outcome;
  }

  async #report(verdict: Verdict, input: Input): Promise<void> {
    const { target, state, onFinding } = this.#o;
    onFinding(verdict, input);
    const shows = async (candidate: Input): Promise<boolean> => {
      state.begin(candidate);
      const outcome = await runOnce(target, candidate);
      state.end();
      return outcome.verdict?.key === verdict.key;
    };
    const small = await minimise(
      input,
      async (candidate) => {
        if (await shows(candidate)) return true;
        if (!target.fix) return false;
        const fixed = cloneInput(candidate);
        target.fix(fixed, new Random(0));
        return shows(fixed);
      },
      MINIMISE_RUNS,
    );
    if (target.fix && !(await shows(small))) target.fix(small, new Random(0));
    onFinding(verdict, (await shows(small)) ? small : input);
  }

  /** Whether the way in which it was refused, or how much it read, is new. */
  #remember({ refusal, meter }: RunOutcome): boolean {
    const key = `${refusal} ${Math.floor(Math.log2(meter.reads + 1))} ${Math.floor(Math.log2(meter.bytesRead + 1) / 2)}`;
    if (this.#refusals.has(key) || this.#refusals.size >= MAX_REFUSALS) return false;
    this.#refusals.add(key);
    return true;
  }

  #keep(input: Input, { meter }: RunOutcome): void {
    if (this.#corpus.length >= MAX_CORPUS) this.#corpus.splice(this.#random.below(MAX_CORPUS), 1);
    this.#corpus.push({ input, hot: meter.hot });
    this.#o.onKept(input);
  }
}
