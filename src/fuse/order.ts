/**
 * Order between requests in flight: reads run beside each other; a change waits for all that came before it, and what comes
 * after waits for the change. So a device sees the changes one at a time and in the order in which they arrived.
 */
export class RequestOrder {
  /** Settles when the newest change is done; never rejects. */
  #changed: Promise<unknown> = Promise.resolve();
  readonly #reading = new Set<Promise<unknown>>();

  read<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#changed.then(work);
    const settled: Promise<unknown> = run
      .catch(() => undefined)
      .then(() => {
        this.#reading.delete(settled);
      });
    this.#reading.add(settled);
    return run;
  }

  change<T>(work: () => Promise<T>): Promise<T> {
    const run = Promise.all([this.#changed, ...this.#reading]).then(work);
    this.#changed = run.catch(() => undefined);
    return run;
  }

  /** Resolves when nothing that was queued before is running any more. */
  async idle(): Promise<void> {
    await Promise.all([this.#changed, ...this.#reading]);
  }
}
