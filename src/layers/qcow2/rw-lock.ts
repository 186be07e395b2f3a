/**
 * Many readers or one writer, first come first served. Reads hold it while they use host offsets taken from the tables,
 * so that a cluster is not given to another guest cluster meanwhile.
 */
export class RwLock {
  #readers = 0;
  #writing = false;
  readonly #waiting: { readonly write: boolean; readonly go: () => void }[] = [];

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

  #wait(write: boolean): Promise<void> {
    return new Promise((go) => this.#waiting.push({ write, go }));
  }

  /** Lets in the next writer, or all readers before it. The state is taken here, before the waiter runs. */
  #next(): void {
    for (let first = this.#waiting[0]; first !== undefined && !this.#writing; first = this.#waiting[0]) {
      if (first.write && this.#readers > 0) return;
      this.#waiting.shift();
      if (first.write) this.#writing = true;
      else this.#readers++;
      first.go();
    }
  }
}
