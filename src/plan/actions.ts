import { StorageError } from "../core/errors.ts";
import type { Action, Argument } from "./model.ts";

/** A command, its arguments as text or with devices in them. */
export function run(...argv: readonly (string | Argument)[]): Action {
  return { kind: "run", argv: argv.map((a) => (typeof a === "string" ? [a] : a)) };
}

/** udev looks at new devices and has them open meanwhile: it must be through before they can be used or closed. */
export function settle(): Action {
  return run("udevadm", "settle", "--timeout=60");
}

/** For what a kernel cannot open without a write. */
export function writesAnyway(what: string): StorageError {
  return new StorageError("unsupported", `the kernel writes to the metadata of ${what} as soon as it is activated`, {
    layer: "plan",
    feature: `${what} without --repair`,
    hint: "say --repair if that may be; check, exec and export read it without a write",
  });
}
