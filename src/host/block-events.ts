import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { StorageError } from "../core/errors.ts";

/** The kernel's messages about block devices (udevadm monitor). What happens is waited for by these, never by sleeping. */
export class BlockEvents implements Disposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #ready: Promise<void>;

  constructor(udevadm: string) {
    this.#child = spawn(udevadm, ["monitor", "--kernel", "--subsystem-match=block"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#ready = new Promise((done, fail) => {
      // What comes before the empty line says that it listens.
      const hear = (line: string) => {
        if (line !== "") return;
        this.#lines.off("line", hear);
        done();
      };
      this.#lines.on("line", hear);
      this.#child.on("error", fail);
      this.#child.on("exit", () => fail(new StorageError("io", "udevadm monitor ended", { layer: "plan" })));
    });
    // Whoever waits is told; nobody has to.
    this.#ready.catch(() => {});
  }

  /** Once this resolves, nothing that happens is missed. */
  ready(): Promise<void> {
    return this.#ready;
  }

  /**
   * Waits until `holds()`, which is asked now and after each event, or until `gaveUp` resolves. Throws `io` after `seconds`: the end of all
   * patience, as events are what it waits for.
   */
  async until(holds: () => boolean, what: string, seconds: number, gaveUp?: Promise<unknown>): Promise<void> {
    const timer = new AbortController();
    const late = setTimeout(() => timer.abort(), seconds * 1000);
    let over = false;
    void gaveUp?.then(() => {
      over = true;
      this.#lines.emit("line", "");
    });
    try {
      while (!holds()) {
        if (over) throw new StorageError("io", what, { layer: "plan" });
        await once(this.#lines, "line", { signal: timer.signal });
      }
    } catch (error) {
      if (!timer.signal.aborted) throw error;
      throw new StorageError("io", `${what}: the kernel said nothing of it for ${seconds} s`, {
        layer: "plan",
        cause: error,
      });
    } finally {
      clearTimeout(late);
    }
  }

  [Symbol.dispose](): void {
    this.#child.removeAllListeners("exit");
    this.#child.kill();
  }
}
