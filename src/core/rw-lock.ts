/** Many readers or one writer, first come first served, for asynchronous work on one object. Not re-entrant. */
export class RwLock {
  #readers = 0;
  #writing = false;
  readonly #waiting: { readonly exclusive: boolean; readonly start: () => void }[] = [];

  /** Runs `work` beside other shared work. */
  async shared<T>(work: () => Promise<T>): Promise<T> {
    if (this.#writing || this.#waiting.length > 0) await this.#wait(false);
    else this.#readers++;
    try {
      return await work();
    } finally {
      this.#readers--;
      this.#next();
    }
  }

  /** Runs `work` alone. */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    if (this.#writing || this.#readers > 0 || this.#waiting.length > 0) await this.#wait(true);
    else this.#writing = true;
    try {
      return await work();
    } finally {
      this.#writing = false;
      this.#next();
    }
  }

  #wait(exclusive: boolean): Promise<void> {
    return new Promise((start) => this.#waiting.push({ exclusive, start }));
  }

  /** Whoever is let in is counted here, before its promise continues, so that nobody slips in between. */
  #next(): void {
    while (this.#waiting.length > 0 && !this.#writing) {
      const { exclusive, start } = this.#waiting[0]!;
      if (exclusive && this.#readers > 0) return;
      this.#waiting.shift();
      if (exclusive) this.#writing = true;
      else this.#readers++;
      start();
    }
  }
}
