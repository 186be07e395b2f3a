import { StorageError } from "../core/errors.ts";
import type { KeyRequest, Secret } from "../core/layer.ts";
import { printable } from "../report/units.ts";
import type { NewKeyProvider } from "../usecases/luks-format.ts";
import { Keys, readKey } from "./keys.ts";

const ATTEMPTS = 3;

export interface NewKeyOptions {
  /** `FILE` or `-`; one. */
  readonly keyFile?: readonly string[] | undefined;
  readonly secondKeyFile?: string | undefined;
  /** Ask for a second passphrase on the terminal. */
  readonly secondPassphrase: boolean;
  readonly prompt: boolean;
}

/** Keys for a container that is to be made: from files, or typed twice. A container that is there already is asked for as usual. */
export class NewKeys implements NewKeyProvider, Disposable {
  readonly #options: NewKeyOptions;
  readonly #usual: Keys;
  #first: Secret | null = null;
  #second: Secret | null = null;

  constructor(options: NewKeyOptions) {
    this.#options = options;
    const [keyFile, ...others] = options.keyFile ?? [];
    if (others.length > 0) {
      throw new StorageError("usage", "a new container is made with one key file", {
        hint: "a second key: --second-key-file FILE",
      });
    }
    if (keyFile !== undefined) this.#first = fileSecret(keyFile);
    if (options.secondKeyFile !== undefined) this.#second = fileSecret(options.secondKeyFile);
    this.#usual = new Keys({ prompt: options.prompt });
  }

  async first(target: string): Promise<Secret> {
    this.#first ??= await this.#typed(`New passphrase for ${printable(target)}: `, "--target-key-file FILE");
    return this.#first;
  }

  async second(target: string): Promise<Secret | null> {
    if (this.#options.secondPassphrase)
      this.#second ??= await this.#typed(`Second passphrase for ${printable(target)}: `, "--second-key-file FILE");
    return this.#second;
  }

  async secretsFor(request: KeyRequest): Promise<readonly Secret[]> {
    if (this.#first === null) return this.#usual.secretsFor(request);
    return request.attempt === 1 ? [this.#first] : [];
  }

  async showRecoveryKey(key: Uint8Array, target: string): Promise<void> {
    const { showOnTerminal } = await import("./tty.ts");
    showOnTerminal(`Recovery key of ${printable(target)}, shown only this once:\n\n    `, key);
  }

  [Symbol.dispose](): void {
    this.#first?.bytes.fill(0);
    this.#second?.bytes.fill(0);
    this.#usual[Symbol.dispose]();
  }

  async #typed(question: string, option: string): Promise<Secret> {
    if (this.#options.prompt) {
      // Loaded only here: few commands ask.
      const { askSecret } = await import("./tty.ts");
      for (let left = ATTEMPTS; left > 0; left--) {
        const typed = await askSecret(question);
        if (typed === null) break;
        const again = (await askSecret("The same again: ")) ?? new Uint8Array(0);
        const same = Buffer.compare(typed, again) === 0;
        again.fill(0);
        if (same) return { bytes: typed, origin: "terminal" };
        typed.fill(0);
        question = question.replace(/^(They differ\. )?/, "They differ. ");
      }
    }
    throw new StorageError("key", "there is no key for the new container", {
      layer: "luks",
      hint: `type it on a terminal, or: ${option}`,
    });
  }
}

function fileSecret(path: string): Secret {
  return { bytes: readKey(path === "-" ? 0 : path, path), origin: path === "-" ? "stdin" : path };
}
