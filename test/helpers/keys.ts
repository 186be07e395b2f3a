import type { KeyProvider, OpenContext, Secret } from "../../src/core/layer.ts";
import type { Limits } from "../../src/core/limits.ts";
import { plainContext } from "./open-context.ts";

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

/** A context for layers that ask for keys. */
export function keyContext(keys: KeyProvider, writable = false, limits: Partial<Limits> = {}): OpenContext {
  return { ...plainContext(writable, limits), keys };
}
