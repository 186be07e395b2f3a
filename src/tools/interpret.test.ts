import { describe, expect, it } from "vitest";
import { StorageError } from "../core/errors.ts";
import { btrfsCheck } from "./btrfs-check.ts";
import { type Checker, type CheckMode, lastLine, type Outcome } from "./checker.ts";
import { allCheckers } from "./checkers.ts";
import { e2fsck, e2fsckProgress } from "./e2fsck.ts";
import { xfsRepair } from "./xfs-repair.ts";

const outcome = (o: Partial<Outcome>): Outcome => ({
  mode: "fix",
  commit: false,
  exitCode: 0,
  signal: null,
  timedOut: false,
  cancelled: false,
  deviceError: null,
  output: "",
  changedBytes: 0,
  ...o,
});

/** What a check that went through prints, for each checker. */
const COMPLETE = new Map<string, string>([
  [
    "e2fsck",
    "Pass 5: Checking group summary information\n/disk: 11/4096 files (0.0% non-contiguous), 2325/16384 blocks\n",
  ],
  ["xfs_repair", "Phase 7 - verify link counts...\nNo modify flag set, skipping filesystem flush and exiting.\n"],
  ["btrfs check", "found 147456 bytes used, no error found\n"],
  ["fsck.fat", "/disk: 0 files, 0/20431 clusters\n"],
]);

describe.each(allCheckers().map((c): [string, Checker] => [c.name, c]))("%s", (name, checker) => {
  const done = { output: COMPLETE.get(name)! };

  it("says clean for exit code 0 after a whole check only", () => {
    const mode = checker.lookFirst ? "look" : "fix";
    expect(checker.interpret(outcome({ ...done, mode })).verdict).toBe("clean");
    expect(checker.interpret(outcome({ mode, output: "" })).verdict).toBe("not-checked");
    expect(checker.interpret(outcome({ mode, output: done.output.slice(0, 10) })).verdict).toBe("not-checked");
  });

  it("gives no verdict after whatever cut the run short", () => {
    const deviceError = new StorageError("io", "bad sector", { layer: "file", offset: 7 });
    for (const o of [
      { deviceError },
      { timedOut: true, exitCode: null, signal: "SIGKILL" },
      { cancelled: true, exitCode: null, signal: "SIGKILL" },
      { exitCode: null, signal: "SIGSEGV" },
      { exitCode: null },
    ]) {
      for (const exitCode of [0, 1, 4]) {
        const { verdict, reason } = checker.interpret(outcome({ ...done, exitCode, ...o }));
        expect(verdict).toBe("not-checked");
        expect(reason).toBeTruthy();
      }
    }
    expect(checker.interpret(outcome({ ...done, deviceError })).reason).toContain("bad sector (file at 7)");
  });

  it("never says clean for an exit code other than 0", () => {
    for (let exitCode = 1; exitCode < 256; exitCode++) {
      for (const mode of ["fix", "preen", "look", "zero-log"] as const) {
        const { verdict } = checker.interpret(outcome({ ...done, mode, exitCode }));
        expect(verdict).not.toBe("clean");
        if (mode === "look" && exitCode > 1) expect(verdict).not.toBe("repaired");
      }
    }
  });
});

describe("e2fsck's exit codes (fsck(8))", () => {
  const output = COMPLETE.get("e2fsck")!;
  const verdict = (exitCode: number, commit = false) => e2fsck.interpret(outcome({ output, exitCode, commit })).verdict;

  it("are read as bits, the worst first", () => {
    expect([1, 2, 3].map((c) => verdict(c))).toEqual(["would-repair", "would-repair", "would-repair"]);
    expect([1, 2, 3].map((c) => verdict(c, true))).toEqual(["repaired", "repaired", "repaired"]);
    expect([4, 5, 6, 7].map((c) => verdict(c, true))).toEqual(Array(4).fill("errors-left"));
    expect([8, 9, 12, 13, 16, 32, 33, 64, 65, 128].map((c) => verdict(c, true))).toEqual(Array(10).fill("not-checked"));
  });

  it("do not hide a feature that e2fsck does not know", () => {
    const text =
      "/dev/x has unsupported feature(s): FEATURE_I30 \u001b[31mFEATURE_R9\ne2fsck: Get a newer version of e2fsck!\n";
    const { verdict: v, reason } = e2fsck.interpret(outcome({ output: text, exitCode: 8 }));
    expect(v).toBe("not-checked");
    expect(reason).toContain("tool too old: this e2fsck does not know FEATURE_I30");
    expect(reason).not.toContain("\u001b");
  });
});

describe("xfs_repair", () => {
  it("gives no verdict on a log that must be replayed, whatever the exit code", () => {
    const output = `ALERT: The filesystem has valuable metadata changes in a log which is being\nignored because the -n option was used.\n${COMPLETE.get("xfs_repair")}`;
    for (const exitCode of [0, 1, 2]) {
      expect(xfsRepair.interpret(outcome({ mode: "look", output, exitCode }))).toMatchObject({
        verdict: "not-checked",
        reason: expect.stringContaining("mount") as string,
      });
    }
  });

  it("takes a repair for one only when it went through to its end", () => {
    const fix = (output: string, exitCode: number, commit = false) =>
      xfsRepair.interpret(outcome({ mode: "fix", output, exitCode, commit })).verdict;
    expect(fix("Phase 7 - verify and correct link counts...\ndone\n", 4)).toBe("would-repair");
    expect(fix("Phase 7 - verify and correct link counts...\ndone\n", 0, true)).toBe("repaired");
    expect(fix("Phase 3 - for each AG...\n", 4)).toBe("errors-left");
    expect(fix("fatal error -- couldn't initialize XFS library\n", 1)).toBe("errors-left");
    expect(fix("ERROR: The filesystem has valuable metadata changes in a log which needs to be replayed.\n", 2)).toBe(
      "not-checked",
    );
  });

  it("throws the log away in one mode only, and says so", () => {
    const flags = (mode: CheckMode) => xfsRepair.argv("/x", mode, "/disk", null);
    for (const mode of ["fix", "preen", "look"] as const) expect(flags(mode)).not.toContain("-L");
    expect(flags("zero-log")).toContain("-L");
    const { verdict, reason } = xfsRepair.interpret(outcome({ mode: "zero-log", output: "done\n", exitCode: 4 }));
    expect([verdict, reason]).toEqual(["would-repair", expect.stringContaining("log was thrown away")]);
  });

  it("does not take an unknown feature for corruption", () => {
    const output =
      "Superblock has unknown incompat features (0x1000) enabled.\nUsing a more recent xfs_repair is recommended.\n";
    const { verdict, reason } = xfsRepair.interpret(outcome({ mode: "look", output, exitCode: 1 }));
    expect([verdict, reason]).toEqual([
      "not-checked",
      "tool too old: this xfs_repair does not know all of the file system's features",
    ]);
  });
});

describe("btrfs check", () => {
  it("wants its words and its exit code to agree", () => {
    const ends = (output: string, exitCode: number) =>
      btrfsCheck.interpret(outcome({ mode: "look", output, exitCode })).verdict;
    expect(ends("found 1 bytes used, error(s) found\n", 0)).toBe("errors-left");
    expect(ends("found 1 bytes used, no error found\n", 1)).toBe("errors-left");
    expect(ends("warning, device 2 is missing\nfound 1 bytes used, no error found\n", 0)).toBe("not-checked");
  });
});

describe("e2fsckProgress", () => {
  it("reads lines across chunks and follows e2fsck's own scale", () => {
    const read = e2fsckProgress();
    expect(read("1 0 10 /disk\n1 5 1")).toEqual({ pass: 1, fraction: 0 });
    expect(read("0 /disk\n")).toEqual({ pass: 1, fraction: 0.35 });
    expect(read("2 1 2 /disk\n3 0 4 /disk\n")).toEqual({ pass: 3, fraction: 0.9 });
    expect(read("nonsense\n9 1 1 /disk\n")).toBeNull();
    expect(read("5 3 0 /disk\n")).toEqual({ pass: 5, fraction: 0.95 });
    expect(read("5 9 4 /disk\n")).toEqual({ pass: 5, fraction: 1 });
  });
});

describe("a reason taken from a checker's output", () => {
  it("is one short printable line", () => {
    expect(lastLine("first\n  last \u001b]0;title\u0007 line\n\n")).toBe("last \\x1b]0;title\\x07 line");
    expect(lastLine("x".repeat(5000)).length).toBeLessThanOrEqual(300);
    expect(lastLine("\n \n")).toBe("no message");
  });
});
