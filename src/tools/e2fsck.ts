import { printable } from "../bytes/text.ts";
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
  tooOld,
} from "./checker.ts";

const MODES: Record<CheckMode, string> = { fix: "-fy", preen: "-fp", look: "-fn", "zero-log": "-fy" };

/** Exit code bits: e2fsck(8), "EXIT CODE"; the same as fsck(8). */
const Exit = {
  CORRECTED: 1,
  REBOOT: 2,
  UNCORRECTED: 4,
  OPERATIONAL: 8,
  USAGE: 16,
  CANCELLED: 32,
  LIBRARY: 128,
} as const;

export const e2fsck: Checker = {
  name: "e2fsck",
  packageName: "e2fsprogs",
  repairs: true,
  repairRefused: null,
  lookFirst: false,
  confirmWith: null,
  configFiles: ["/etc/e2fsck.conf"],
  find: (searchPath) => findAny(["e2fsck", "fsck.ext4"], searchPath),
  versionIn: (output) => /^e2fsck \S+/.exec(output)?.[0] ?? null,
  version: (path) => queryVersion(path, ["-V"], "e2fsck", /^e2fsck (\S+)/m),
  argv: (path, mode, file, progressFd) => [
    path,
    MODES[mode],
    ...(progressFd === null ? [] : ["-C", String(progressFd)]),
    file,
  ],
  interpret,
};

/** Replays the journal and does nothing else; exit codes 0 and 1 are good. */
export function journalOnly(path: string, file: string): string[] {
  return [path, "-y", "-E", "journal_only", file];
}

function interpret(o: Outcome): Judgement {
  const early = interrupted("e2fsck", o);
  if (early) return early;
  const code = o.exitCode!;
  const unknown = unsupportedFeatures(o.output);
  if (unknown !== null) return notChecked(tooOld("e2fsck", unknown));
  if (has(code, Exit.CANCELLED)) return notChecked("e2fsck was cancelled");
  if (has(code, Exit.USAGE)) return notChecked(`e2fsck refused its options: ${lastLine(o.output)}`);
  if (has(code, Exit.LIBRARY)) return notChecked(`e2fsck could not load a library: ${lastLine(o.output)}`);
  if (has(code, Exit.OPERATIONAL)) return notChecked(`e2fsck could not do its work: ${operationalReason(o.output)}`);
  if (has(code, Exit.UNCORRECTED)) {
    return { verdict: "errors-left", reason: o.mode === "look" ? "e2fsck changed nothing" : lastLine(o.output) };
  }
  if (code > (Exit.CORRECTED | Exit.REBOOT)) return notChecked(`e2fsck ended with an unknown exit code ${code}`);
  if (!complete(o)) return notChecked(`e2fsck ended before its last pass: ${lastLine(o.output)}`);
  if (o.output.includes("skipping journal recovery")) {
    return notChecked("the journal was not replayed, so what was checked is not what the next mount would see");
  }
  // Exit 0 is "no errors", not "nothing written": times and mount count always change, and more may, which is then said.
  const verdict = code === 0 ? "clean" : o.commit ? "repaired" : "would-repair";
  return { verdict, reason: besidesErrors(o, code) };
}

/** What e2fsck did that it does not count as an error, since a mount would do the same. */
function besidesErrors(o: Outcome, code: number): string | null {
  const done: string[] = [];
  if (/: recovering journal$/m.test(o.output)) done.push("journal replayed");
  if (/(Clearing|Truncating) orphaned inode /.test(o.output))
    done.push("inodes that were deleted while in use removed");
  if (done.length === 0 && code === 0 && o.output.includes("FILE SYSTEM WAS MODIFIED")) done.push("changes made");
  if (done.length === 0) return null;
  return `${done.join(", ")} ${o.commit ? "by e2fsck" : "for the check"}`;
}

/** All that e2fsck prints about a sound file system that was mounted: PR_5_FREE_BLOCK_COUNT and PR_5_FREE_INODE_COUNT in e2fsck/problem.c, not those of a group. */
const OF_A_MOUNTED_ONE = [
  /^e2fsck \d\S* \(\S+\)$/,
  /^.{1,64}: recovering journal$/,
  /^(Clearing|Truncating) orphaned inode \d+ \(.*\)$/,
  /^Pass [1-5]: .*$/,
  /^Free (blocks|inodes) count wrong \(\d+, counted=\d+\)\.$/,
  /^Fix\? yes$/,
  /^.{1,64}: \*{5} FILE SYSTEM WAS MODIFIED \*{5}$/,
  /^.{1,64}: \d+\/\d+ files \(.*\), \d+\/\d+ blocks$/,
  /^$/,
];

/**
 * The journal was replayed, and the only things mended then are the superblock's totals of free blocks and inodes. Linux keeps these in
 * memory, counts them anew when it mounts, and writes them when it freezes or unmounts (fs/ext4/super.c, ext4_update_super): in a file system
 * that is in use they are out of date, and that is no error. Any line that is not known makes it false.
 */
export function onlyStaleTotals(output: string): boolean {
  const lines = output.split("\n");
  return (
    lines.some((line) => /: recovering journal$/.test(line)) &&
    lines.every((l) => OF_A_MOUNTED_ONE.some((r) => r.test(l)))
  );
}

function has(code: number, bit: number): boolean {
  return (code & bit) !== 0;
}

/**
 * A check went through to its end: it printed its count of files, which comes last (show_stats in e2fsck/unix.c; the second
 * form where /etc/e2fsck.conf asks for verbose reports). Preening names no passes.
 */
function complete(o: Outcome): boolean {
  const counted = /: \d+\/\d+ files \(\d|^ *\d+ inodes used \(\d/m.test(o.output);
  return counted && (o.mode === "preen" || /^Pass 5: /m.test(o.output));
}

/** The named features, "" when they are not named, null when that is not the trouble (e2fsck/unix.c, lib/ext2fs/openfs.c). */
function unsupportedFeatures(output: string): string | null {
  const named = /has unsupported feature\(s\):(.*)$/m.exec(output);
  if (named) return printable(named[1]!.trim());
  return /Get a newer version of e2fsck|unsupported (read-only )?feature\(s\)/.test(output) ? "" : null;
}

/** e2fsck names the trouble first and then gives advice; the line with its own name in front is the one that says it. */
function operationalReason(output: string): string {
  const named = output.split("\n").filter((l) => /^(e2fsck|fsck\.ext[234]): /.test(l) && !l.includes("trying backup"));
  return lastLine(named.at(-1)?.replace(/^\S+: /, "") ?? output);
}

/** Share of the whole at the start and end of each pass, in percent: e2fsck's own bar (e2fsck/unix.c, e2fsck_tbl). */
const PASS_ENDS = [0, 70, 90, 92, 95, 100];

export interface E2fsckProgress {
  /** 1 to 5. */
  readonly pass: number;
  /** 0 to 1, of the whole check. */
  readonly fraction: number;
}

/** Reads `pass current max device` lines (`-C FD`; e2fsck(8)) from chunks; null while there is no whole new line. */
export function e2fsckProgress(): (text: string) => E2fsckProgress | null {
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    const match = lines.map((l) => /^([1-5]) (\d+) (\d+)( |$)/.exec(l)).findLast((m) => m !== null);
    if (!match) return null;
    const pass = Number(match[1]);
    const max = Number(match[3]);
    const share = max === 0 ? 0 : Math.min(1, Number(match[2]) / max);
    const start = PASS_ENDS[pass - 1]!;
    return { pass, fraction: (start + (PASS_ENDS[pass]! - start) * share) / 100 };
  };
}
