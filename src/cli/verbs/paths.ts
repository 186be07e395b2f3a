import { StorageError } from "../../core/errors.ts";
import { printable } from "../../report/units.ts";
import type { ProblemDocument } from "../../usecases/documents.ts";
import { note } from "../output.ts";

/** Splits the operands of a verb: sources, then a path in the volume and, where `trailing` is 2, a place on the host. */
export function withPath(
  named: readonly string[],
  trailing: 1 | 2,
): { readonly sources: readonly string[]; readonly path: string; readonly destination: string } {
  if (named.length <= trailing) {
    throw new StorageError("usage", trailing === 1 ? "no path is named" : "a path and a destination are wanted", {
      hint:
        trailing === 1
          ? "for example: unterbau cat disk.qcow2 --volume lvg1/lvroot /etc/fstab"
          : "for example: unterbau cp disk.qcow2 --volume lvg1/lvroot /etc ./etc-of-the-guest",
    });
  }
  const sources = named.slice(0, named.length - trailing);
  const [path = "", destination = ""] = named.slice(-trailing);
  return { sources, path, destination };
}

/** Names on stderr what was left out; the exit code. */
export function tellProblems(problems: readonly ProblemDocument[]): number {
  for (const { path, message } of problems) note(`${printable(path)}: ${printable(message)}`);
  return problems.length === 0 ? 0 : 1;
}
