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
  tooOld,
} from "./checker.ts";

const REFUSED =
  "repairing Btrfs is not offered: its own manual (btrfs-check(8)) warns against --repair without a developer's advice";

/** btrfs-check(8) */
export const btrfsCheck: Checker = {
  name: "btrfs check",
  packageName: "btrfs-progs",
  repairs: false,
  repairRefused: REFUSED,
  lookFirst: false,
  confirmWith: null,
  configFiles: [],
  find: (searchPath) => findAny(["btrfs"], searchPath),
  version: (path) => queryVersion(path, ["--version"], "btrfs-progs", /btrfs-progs v?(\S+)/),
  argv: (path, mode, file) => {
    if (mode !== "look") throw new StorageError("unsupported", REFUSED, { feature: "Btrfs repair" });
    return [path, "check", "--readonly", file];
  },
  interpret,
};

function interpret(o: Outcome): Judgement {
  const early = interrupted("btrfs check", o);
  if (early) return early;
  if (/device \d+ is missing|missing device/.test(o.output)) {
    return notChecked("it spans several devices, and not all of them are here");
  }
  if (/unsupported (option )?features?/i.test(o.output)) {
    return notChecked(tooOld("btrfs"));
  }
  // check/main.c ends a check that went through with this line, with and without errors.
  const complete = /^found \d+ bytes used, (no error|error\(s\)) found$/m.exec(o.output);
  if (!complete) return notChecked(`btrfs check stopped early: ${lastLine(o.output)}`);
  if (o.exitCode === 0 && complete[1] === "no error") return { verdict: "clean", reason: null };
  return { verdict: "errors-left", reason: REFUSED };
}
