import type { KeyProvider, OpenContext, Secret } from "../../src/core/layer.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";

/** Gives each list of passphrases in turn, then nothing more. */
export function passphrases(...rounds: readonly (readonly (string | Uint8Array)[])[]): KeyProvider {
  return {
    async secretsFor({ attempt }) {
      return (rounds[attempt - 1] ?? []).map(
        (text, i): Secret => ({
          bytes: typeof text === "string" ? new Uint8Array(Buffer.from(text)) : text,
          origin: `key ${attempt}.${i}`,
        }),
      );
    },
  };
}

export interface TestContext {
  readonly keys?: KeyProvider;
  readonly writable?: boolean;
  readonly limits?: Partial<Limits>;
  readonly signal?: AbortSignal;
}

/** For opening a layer in a test: no images but its own may be opened. */
export function openContext(options: TestContext = {}): OpenContext {
  return {
    writable: options.writable ?? false,
    keys: options.keys ?? passphrases(),
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    signal: options.signal,
    openImage: () => Promise.reject(new Error("no other image may be opened here")),
  };
}
