import {
  type Checker,
  type CheckMode,
  findAny,
  interrupted,
  type Judgement,
  lastLine,
  notChecked,
  type Outcome,
  queryVersion,
} from "./checker.ts";

/** `-a` and `-y` are the same for this program. */
const MODES: Record<CheckMode, string> = { fix: "-y", preen: "-a", look: "-n", "zero-log": "-y" };

/** fsck.fat(8) of dosfstools */
export const fsckFat: Checker = {
  name: "fsck.fat",
  packageName: "dosfstools",
  repairs: true,
  repairRefused: null,
  lookFirst: false,
  // Exit code 1 is "recoverable errors have been detected", mended or not.
  confirmWith: "look",
  configFiles: [],
  find: (searchPath) => findAny(["fsck.fat", "fsck.vfat"], searchPath),
  // It has no option for its version, but begins every run with it.
  version: (path) => queryVersion(path, ["-n", "/dev/null"], "fsck.fat", /^fsck\.fat (\S+)/m),
  argv: (path, mode, file) => [path, MODES[mode], file],
  interpret,
};

function interpret(o: Outcome): Judgement {
  const early = interrupted("fsck.fat", o);
  if (early) return early;
  // The last line of a check that went through (fsck.fat.c, main).
  const complete = /: \d+ files, \d+\/\d+ clusters$/m.test(o.output);
  if (!complete) return notChecked(`fsck.fat stopped early: ${lastLine(o.output)}`);
  if (o.exitCode === 0) return { verdict: "clean", reason: null };
  if (o.exitCode !== 1) return notChecked(`fsck.fat could not do its work: ${lastLine(o.output)}`);
  if (o.mode === "look") return { verdict: "errors-left", reason: "fsck.fat changed nothing" };
  if (!o.output.includes("*** Filesystem was changed ***")) {
    return { verdict: "errors-left", reason: "fsck.fat found errors that it did not mend" };
  }
  return { verdict: o.commit ? "repaired" : "would-repair", reason: null };
}
