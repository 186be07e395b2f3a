import { createRequire } from "node:module";

export type NativeFunction = (...args: (number | bigint | string | object | null)[]) => number | bigint | object | null;

/** What is used of koffi; its own types would pull the whole package into every importer's type check. */
export interface Koffi {
  load(path: null): { func(prototype: string): NativeFunction };
  /** errno of the last native call on this thread. */
  errno(): number;
}

let loaded: Koffi | undefined;

/** Throws where the package has no binary for this machine. */
export function koffi(): Koffi {
  loaded ??= createRequire(import.meta.url)("koffi") as Koffi;
  return loaded;
}

/** Loading it takes longer than many a short command. */
export function koffiIsLoaded(): boolean {
  return loaded !== undefined;
}
