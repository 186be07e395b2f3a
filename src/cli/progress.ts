import { humanSize } from "../report/units.ts";
import { canRedraw, STDERR, write } from "./output.ts";

/** Nothing is drawn for what is done within this time. */
const DELAY_MS = 1000;
const EVERY_MS = 100;
const WIDTH = 30;

/** A bar on stderr for work that takes longer than a second; nothing when stderr is no terminal. */
export class Progress implements Disposable {
  readonly #started = Date.now();
  readonly #label: string;
  readonly #shown = Progress.shown();
  #last = 0;
  #drawn = false;

  /** False: `update` draws nothing. */
  static shown(): boolean {
    return canRedraw(STDERR);
  }

  constructor(label: string) {
    this.#label = label;
  }

  /** `fraction` from 0 to 1; `detail` is put behind the bar. */
  update(fraction: number, detail = ""): void {
    const now = Date.now();
    if (!this.#shown || now - this.#started < DELAY_MS || now - this.#last < EVERY_MS) return;
    this.#last = now;
    this.#drawn = true;
    const full = Math.round(Math.min(1, Math.max(0, fraction)) * WIDTH);
    const bar = "█".repeat(full) + "░".repeat(WIDTH - full);
    write(
      `\r\x1b[K${this.#label} ${bar} ${String(Math.floor(fraction * 100)).padStart(3)} %${detail ? `  ${detail}` : ""}`,
      STDERR,
    );
  }

  /** Bytes done of all, with rate and time left. */
  bytes(done: number, total: number): void {
    const seconds = (Date.now() - this.#started) / 1000;
    const rate = done / Math.max(seconds, 0.001);
    const left = rate > 0 ? Math.ceil((total - done) / rate) : 0;
    this.update(total === 0 ? 1 : done / total, `${humanSize(rate)}/s, ${left} s left`);
  }

  /** Takes the bar away, so that other text can be printed. */
  clear(): void {
    if (this.#drawn) write("\r\x1b[K", STDERR);
    this.#drawn = false;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}
