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

/** The kernel takes an array's device away some time after it is stopped, and no event can be waited for that may be over already. */
export function gone(path: string): Action {
  return run("timeout", "60", "sh", "-c", 'while [ -e "$0" ]; do sleep 0.1; done', path);
}

/** For what a kernel cannot open without a write. */
export function writesAnyway(what: string): StorageError {
  return new StorageError("unsupported", `the kernel writes to the metadata of ${what} as soon as it is activated`, {
    layer: "plan",
    feature: `${what} without --repair`,
    hint: "say --repair if that may be; check, exec and export read it without a write",
  });
}
