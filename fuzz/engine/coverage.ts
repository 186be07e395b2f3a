import { type Profiler, Session } from "node:inspector/promises";

/** One function's source characters that ran: 1 where one did. */
interface Covered {
  readonly key: string;
  readonly characters: Uint8Array;
}

/**
 * What ran of the bundle, by V8's precise coverage of this thread. V8 joins neighbouring blocks that ran equally often, so its
 * ranges come and go with the numbers; which characters ran does not.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #file: string;
  readonly #seen = new Map<string, Uint8Array>();
  #characters = 0;

  /** `file`: end of the URL of the script that counts. */
  constructor(file: string) {
    this.#file = file;
  }

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Characters that ran so far; those of functions inside functions count twice. */
  get characters(): number {
    return this.#characters;
  }

  /** Functions with parts that ran since the last look and had never run before. They stay new until they are settled. */
  async peek(): Promise<readonly Covered[]> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    const fresh: Covered[] = [];
    for (const script of result) {
      if (!script.url.endsWith(this.#file)) continue;
      for (const fn of script.functions) {
        const covered = charactersOf(fn);
        if (covered && this.#isNew(covered)) fresh.push(covered);
      }
    }
    return fresh;
  }

  settle(fresh: readonly Covered[]): void {
    for (const { key, characters } of fresh) {
      const seen = this.#seen.get(key) ?? new Uint8Array(characters.length);
      this.#seen.set(key, seen);
      for (let i = 0; i < characters.length; i++) {
        if (seen[i] === 1 || characters[i] === 0) continue;
        seen[i] = 1;
        this.#characters++;
      }
    }
  }

  #isNew({ key, characters }: Covered): boolean {
    const seen = this.#seen.get(key);
    return seen ? characters.some((c, i) => c === 1 && seen[i] === 0) : true;
  }
}

/** Ranges come outermost first; null when the function did not run. */
function charactersOf(fn: Profiler.FunctionCoverage): Covered | null {
  const [whole] = fn.ranges;
  // What begins at 0 is the script itself.
  if (!whole || whole.count === 0 || whole.startOffset === 0) return null;
  const characters = new Uint8Array(whole.endOffset - whole.startOffset);
  for (const { startOffset, endOffset, count } of fn.ranges) {
    characters.fill(count > 0 ? 1 : 0, startOffset - whole.startOffset, endOffset - whole.startOffset);
  }
  return { key: `${whole.startOffset}-${whole.endOffset}`, characters };
}
