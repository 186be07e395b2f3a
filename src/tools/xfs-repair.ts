import { StorageError } from "../core/errors.ts";
import {
  type Checker,
  findAny,
  interrupted,
  type Judgement,
  lastLine,
  notChecked,
  type Outcome,
  queryVersion,
} from "./checker.ts";

const REFUSED =
  "repairing XFS is not offered yet: its log can only be replayed by a mount, which xfs_repair would throw away";

/** xfs_repair(8); `-f`: the file system is in a file. */
export const xfsRepair: Checker = {
  name: "xfs_repair",
  packageName: "xfsprogs",
  repairs: false,
  repairRefused: REFUSED,
  confirmWith: null,
  configFiles: [],
  find: (searchPath) => findAny(["xfs_repair"], searchPath),
  version: (path) => queryVersion(path, ["-V"], "xfs_repair", /version (\S+)/),
  argv: (path, mode, file) => {
    if (mode !== "look") throw new StorageError("unsupported", REFUSED, { feature: "XFS repair" });
    return [path, "-f", "-n", file];
  },
  interpret,
};

function interpret(o: Outcome): Judgement {
  const early = interrupted("xfs_repair", o);
  if (early) return early;
  // repair/phase2.c: with -n a log that is not empty is ignored, and what is then found means nothing.
  if (o.exitCode === 2 || o.output.includes("valuable metadata changes in a log")) {
    return notChecked(
      "the log has changes that are not replayed yet: mount the file system once, cleanly unmount it, then check",
    );
  }
  // These end with exit code 1 as corruption does (repair/versions.c, repair/xfs_repair.c).
  if (
    /unknown (compat|ro-?compat|incompat) features?|unsupported filesystem features|more recent xfs_repair/i.test(
      o.output,
    )
  ) {
    return notChecked("this xfs_repair is too old for the file system's features");
  }
  const complete = /^No modify flag set, skipping filesystem flush and exiting\.$/m.test(o.output);
  if (!complete) return notChecked(`xfs_repair stopped early: ${lastLine(o.output)}`);
  if (o.exitCode === 0) return { verdict: "clean", reason: null };
  if (o.exitCode === 1) return { verdict: "errors-left", reason: REFUSED };
  return notChecked(`xfs_repair ended with an unknown exit code ${o.exitCode}`);
}
