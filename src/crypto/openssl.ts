import { koffi } from "../ffi/koffi.ts";

type Library = ReturnType<ReturnType<typeof koffi>["load"]>;

/**
 * Functions of the OpenSSL that is in this process anyway, for calling them without node:crypto between. They are looked for once, when they
 * are first asked for. Null without koffi, with a Node that does not show its OpenSSL, and where `agrees` finds that they are not what they
 * are taken for: node:crypto does it then, slower.
 */
export function fromOpenssl<T>(functions: (process: Library) => T, agrees: (found: T) => boolean): () => T | null {
  let found: T | null | undefined;
  return () => {
    if (found !== undefined) return found;
    found = null;
    try {
      const functionsFound = functions(koffi().load(null));
      if (agrees(functionsFound)) found = functionsFound;
    } catch {
      // What `koffi` and `func` throw means the same: it cannot be called in this way.
    }
    return found;
  };
}
