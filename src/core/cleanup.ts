/**
 * What must be closed later, in reverse order, always, keeping the first error. Node 20 has no AsyncDisposableStack; this is
 * the part of it that is needed, with the same names.
 */
export class Cleanup implements AsyncDisposable {
  #items: (() => unknown)[] = [];

  use<T extends AsyncDisposable | Disposable>(item: T): T {
    this.#items.push(() => (Symbol.asyncDispose in item ? item[Symbol.asyncDispose]() : item[Symbol.dispose]()));
    return item;
  }

  defer(act: () => unknown): void {
    this.#items.push(act);
  }

  /** Hands all of it on: this one then disposes of nothing. */
  move(): Cleanup {
    const next = new Cleanup();
    next.#items = this.#items;
    this.#items = [];
    return next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    let failed = false;
    let first: unknown;
    for (const item of this.#items.splice(0).reverse()) {
      try {
        await item();
      } catch (error) {
        if (!failed) first = error;
        failed = true;
      }
    }
    if (failed) throw first;
  }
}
