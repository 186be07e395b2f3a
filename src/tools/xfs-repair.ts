import {
  type Checker,
  findAny,
  interrupted,
  type Judgement,
  lastLine,
  notChecked,
  type Outcome,
  queryVersion,
  tooOld,
} from "./checker.ts";

const DIRTY_LOG =
  "the log has changes that are not replayed yet: mount the file system once, cleanly unmount it, then check " +
  "(--xfs-zero-log throws these changes away instead)";

/** Exit codes (xfs_repair(8), "EXIT STATUS"; 4 with `-e` only). */
const Exit = { DIRTY_LOG: 2, CORRECTED: 4 } as const;

/**
 * xfs_repair(8); `-f`: the file system is in a file. It cannot replay a log: only a mount can, and here no kernel mounts a guest's file
 * system. So a dirty log ends the check, unless the user has it thrown away by name.
 */
export const xfsRepair: Checker = {
  name: "xfs_repair",
  packageName: "xfsprogs",
  repairs: true,
  repairRefused: null,
  // A repair rebuilds every tree of free space and inodes, also in a file system that is sound.
  lookFirst: true,
  confirmWith: "look",
  configFiles: [],
  find: (searchPath) => findAny(["xfs_repair"], searchPath),
  version: (path) => queryVersion(path, ["-V"], "xfs_repair", /version (\S+)/),
  argv: (path, mode, file) => [path, "-f", ...MODES[mode], file],
  interpret,
};

/** There is nothing that it would repair without a question only: preening looks. */
const MODES = { look: ["-n"], preen: ["-n"], fix: ["-e"], "zero-log": ["-e", "-L"] } as const;

function interpret(o: Outcome): Judgement {
  const early = interrupted("xfs_repair", o);
  if (early) return early;
  // repair/phase2.c: with -n a log that is not empty is ignored, and what is then found means nothing; without, it ends there.
  if (o.mode !== "zero-log" && (o.exitCode === Exit.DIRTY_LOG || /valuable metadata changes in a log/.test(o.output)))
    return { verdict: "not-checked", reason: DIRTY_LOG, dirtyLog: true };
  // These end with exit code 1 as corruption does (repair/versions.c, repair/xfs_repair.c).
  if (
    /unknown (compat|ro-?compat|incompat) features?|unsupported filesystem features|more recent xfs_repair/i.test(
      o.output,
    )
  ) {
    return notChecked(tooOld("xfs_repair"));
  }
  return o.mode === "fix" || o.mode === "zero-log" ? repaired(o) : looked(o);
}

function looked(o: Outcome): Judgement {
  const complete = /^No modify flag set, skipping filesystem flush and exiting\.$/m.test(o.output);
  if (!complete) return notChecked(`xfs_repair stopped early: ${lastLine(o.output)}`);
  if (o.exitCode === 0) return { verdict: "clean", reason: null };
  if (o.exitCode === 1) return { verdict: "errors-left", reason: "xfs_repair changed nothing" };
  return notChecked(`xfs_repair ended with an unknown exit code ${o.exitCode}`);
}

function repaired(o: Outcome): Judgement {
  const complete = /^done$/m.test(o.output);
  const through = complete && (o.exitCode === 0 || o.exitCode === Exit.CORRECTED);
  if (!through) return { verdict: "errors-left", reason: `xfs_repair could not mend it: ${lastLine(o.output)}` };
  const reason =
    o.mode === "zero-log"
      ? "the log was thrown away, and with it the last changes before the crash, as asked for"
      : null;
  return { verdict: o.commit ? "repaired" : "would-repair", reason };
}
