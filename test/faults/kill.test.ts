import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openRun } from "../../src/host/run.ts";
import { listRuns } from "../../src/host/run-store.ts";
import { recoverSource } from "../../src/usecases/recover.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { bundleScript } from "./bundle.ts";
import { BATCHES, contentAfter, doBatch } from "./scenario.ts";

const STATES = [0, 1, 2].map((n) => contentAfter(n).map((c) => Buffer.from(c)));

/** Not before the last moment of a commit; the first test finds it exactly. */
let lastMoment = 75;

let script: ReturnType<typeof bundleScript>;
let directory: string;
let state: string;
let paths: string[];
beforeAll(() => {
  script = bundleScript("child.ts");
});
afterAll(() => script.cleanup());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unterbau-kill-"));
  state = join(directory, "state");
  paths = [join(directory, "a"), join(directory, "b")];
});
afterEach(() => rmSync(directory, { recursive: true }));

/** True when the child ended by itself, false when it was killed; anything else is a failure. */
function child(moment: number, ...args: string[]): boolean {
  const result = spawnSync(process.execPath, [script.path, String(moment), state, ...args], { encoding: "utf8" });
  if (result.status === 0) return true;
  if (result.signal === "SIGKILL") return false;
  throw new Error(`moment ${moment}: ${result.stderr}`);
}

function reset(): void {
  rmSync(state, { recursive: true, force: true });
  contentAfter(0).forEach((content, i) => {
    writeFileSync(paths[i]!, content);
  });
}

/** Which of the states both sources are at together; -1: at none. */
function stateOfSources(): number {
  const now = paths.map((p) => readFileSync(p));
  return STATES.findIndex((s) => s.every((content, i) => content.equals(now[i]!)));
}

/** The scenario without a child. */
async function commitHere(): Promise<string> {
  await using run = await openRun({ verb: "test", stateDir: state, sources: paths.map((path) => ({ path })) });
  for (let batch = 0; batch < BATCHES.length; batch++) {
    await doBatch(batch, [run.device(0), run.device(1)]);
    await run.commit();
  }
  return run.id;
}

const theRun = () => listRuns([state]).runs[0]?.record;
const recover = () => recoverSource(paths, { stateDirs: [state] });

/** What is promised about sources after recovery: one of the states as a whole, named rightly, and undo leads to the first. */
async function expectSound(moment: number): Promise<void> {
  const at = stateOfSources();
  expect(at, `killed at ${moment}: the sources are at no state`).toBeGreaterThanOrEqual(0);
  const run = theRun();
  if (at > 0) expect(["interrupted", "committed"]).toContain(run?.status);
  expect(await recover(), `killed at ${moment}: recovery is not finished`).toBeNull();
  if (run?.status === "interrupted" || run?.status === "committed") await undoRun(run.run, { stateDirs: [state] });
  expect(stateOfSources(), `killed at ${moment}: undo`).toBe(0);
}

describe("SIGKILL at every change of a file", () => {
  it("in a commit of two sources: recovery finds both as before or both as after", async () => {
    const seen = new Set<number>();
    let moment = 1;
    for (; ; moment++) {
      reset();
      const ended = child(moment, "commit", ...paths);
      if (!ended) {
        const report = await recover();
        expect(report?.unresolved ?? false, report?.messages.join()).toBe(false);
      }
      seen.add(stateOfSources());
      if (ended) expect(stateOfSources()).toBe(BATCHES.length);
      await expectSound(moment);
      if (ended) break;
    }
    // Enough moments that every fsync, write and rename of both batches was among them.
    expect(moment).toBeGreaterThan(40);
    expect(moment).toBeLessThan(lastMoment);
    lastMoment = moment;
    expect([...seen].sort()).toEqual([0, 1, 2]);
  });

  it.each([
    ["one source is written and the other is not", () => stateOfSources() < 0],
    ["both are written, and one is cut off, but none is declared applied", () => stateOfSources() === BATCHES.length],
  ])("in the recovery, when %s: the next one completes it", async (_, wanted) => {
    const frozen = join(directory, "frozen");
    for (let moment = lastMoment; ; moment--) {
      expect(moment).toBeGreaterThan(0);
      reset();
      if (child(moment, "commit", ...paths) || !wanted()) continue;
      rmSync(frozen, { recursive: true, force: true });
      for (const name of ["state", "a", "b"]) cpSync(join(directory, name), join(frozen, name), { recursive: true });
      if ((await recover())?.runs[0]?.outcome === "rolled-back") break;
    }
    let moment = 1;
    for (let ended = false; !ended; moment++) {
      for (const name of ["state", "a", "b"]) {
        rmSync(join(directory, name), { recursive: true });
        cpSync(join(frozen, name), join(directory, name), { recursive: true });
      }
      ended = child(moment, "recover", ...paths);
      const report = await recover();
      expect(report?.unresolved ?? false, report?.messages.join()).toBe(false);
      expect(stateOfSources()).toBe(1);
      await expectSound(moment);
    }
    expect(moment).toBeGreaterThan(8);
  });

  it("in an undo: the next command completes it, or the same call again", async () => {
    let moment = 1;
    for (let ended = false; !ended; moment++) {
      reset();
      const run = await commitHere();
      ended = child(moment, "undo", run);
      const { status } = theRun()!;
      if (status === "committed") expect(stateOfSources()).toBe(2);
      else if (moment % 2 === 0 && status === "undoing") await undoRun(run, { stateDirs: [state] });
      else expect((await recover())?.messages.join() ?? "", `killed at ${moment}`).not.toContain("cannot");
      if (status !== "committed") {
        expect(theRun()?.status).toBe("undone");
        expect(stateOfSources(), `killed at ${moment}`).toBe(0);
      }
    }
    expect(moment).toBeGreaterThan(10);
    expect(existsSync(join(state, "runs"))).toBe(true);
  });
});
