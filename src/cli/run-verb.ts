import { firstError, ioError, StorageError } from "../core/errors.ts";
import { onBrokenOutput, reportError } from "./output.ts";
import { newSession, type Session } from "./session.ts";

/** Exit codes: of a failure, of a wrong command line, of a Ctrl-C. */
export interface Codes {
  readonly failed: number;
  readonly usage: number;
  readonly cancelled: number;
}

/** Of verbs that speak as fsck(8) does, or whose verdicts are exit codes themselves. */
export const CHECK_CODES: Codes = { failed: 8, usage: 16, cancelled: 32 };
export const OTHER_CODES: Codes = { failed: 1, usage: 2, cancelled: 130 };

export type Run<F> = (sources: readonly string[], flags: F, session: Session) => Promise<number>;

/** What a command's action is made of: the module that does it is loaded only then. */
export type Verb = <F extends { debug?: boolean }>(
  load: () => Promise<{ run: Run<F> }>,
  codes?: Codes,
) => (sources: readonly string[], flags: F) => Promise<void>;

/** Runs verbs until `exitCode` is known; turns what they throw into one line. Signals and a reader that has gone end them cleanly. */
export class VerbRunner {
  exitCode = 0;
  readonly #abort = new AbortController();
  #interrupts = 0;
  /** Why standard output cannot take more. */
  #broken: NodeJS.ErrnoException | null = null;

  constructor() {
    for (const [name, number] of [
      ["SIGINT", 2],
      ["SIGTERM", 15],
      ["SIGHUP", 1],
    ] as const) {
      process.on(name, () => {
        this.#cancel();
        // The first one ends the work cleanly; who insists is obeyed.
        if (++this.#interrupts > 2) process.exit(128 + number);
      });
    }
    onBrokenOutput((error) => {
      this.#broken ??= error;
      // As after Ctrl-C.
      this.#cancel();
    });
  }

  readonly verb: Verb =
    (load, codes = OTHER_CODES) =>
    async (sources, flags) => {
      try {
        this.exitCode = await (await load()).run(sources, flags, newSession(this.#abort.signal));
        if (this.#broken) throw this.#broken;
      } catch (error) {
        this.exitCode = await this.#failed(error, flags.debug ?? false, codes);
      }
    };

  #cancel(): void {
    this.#abort.abort(new StorageError("cancelled", "cancelled"));
  }

  async #failed(error: unknown, debug: boolean, codes: Codes): Promise<number> {
    if (this.#broken) {
      // The reader of a pipe has gone (`unterbau read … | head`): that is no news.
      if (this.#broken.code !== "EPIPE")
        await reportError(ioError(this.#broken, "cannot write to standard output"), debug);
      return codes.failed;
    }
    await reportError(error, debug);
    const first = firstError(error);
    const code = first instanceof StorageError ? first.code : null;
    if (code === "usage") return codes.usage;
    return code === "cancelled" || this.#abort.signal.aborted ? codes.cancelled : codes.failed;
  }
}
