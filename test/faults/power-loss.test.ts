import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listRuns } from "../../src/host/run-store.ts";
import { recoverSource } from "../../src/usecases/recover.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { bundleScript } from "./bundle.ts";
import { contentAfter } from "./scenario.ts";
import type { Change } from "./trace.ts";

const PAGE = 4096;
const STATES = [0, 1, 2].map((n) => contentAfter(n).map((c) => Buffer.from(c)));

let script: ReturnType<typeof bundleScript>;
let directory: string;
beforeAll(() => {
  script = bundleScript("trace-child.ts");
  directory = mkdtempSync(join(tmpdir(), "unterbau-power-"));
});
afterAll(() => {
  script.cleanup();
  rmSync(directory, { recursive: true });
});

/** Numbers from 0 to 1 that are the same each time (mulberry32). */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function resized(content: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  out.set(content.subarray(0, size));
  return out;
}

/**
 * The files that a disk may hold when power fails after `count` changes: everything before a file's last fsync, and of what came after any
 * pages in any choice, as a page cache writes them back. A rename is there when it was asked for: run.json is synced before.
 */
function disk(changes: readonly Change[], count: number, initial: Map<string, Uint8Array>, chance: () => number) {
  const files = new Map(initial);
  const synced = new Map<string, number>();
  changes.slice(0, count).forEach((c, i) => {
    if (c.what === "sync") synced.set(c.path, i);
    if (c.what === "rename") synced.set(c.path, i);
  });
  const keep = (c: Change, i: number) => i < (synced.get(c.path) ?? -1) || chance() < 0.5;
  changes.slice(0, count).forEach((c, i) => {
    const content = files.get(c.path) ?? new Uint8Array(0);
    if (c.what === "rename") {
      files.set(c.to, content);
      files.delete(c.path);
    } else if (c.what === "truncate") {
      if (keep(c, i)) files.set(c.path, resized(content, c.size));
    } else if (c.what === "write") {
      const data = Buffer.from(c.data, "base64");
      let now = content;
      for (let at = 0; at < data.length; ) {
        const to = Math.min(data.length, at + PAGE - ((c.position + at) % PAGE));
        if (keep(c, i)) {
          now = now.length < c.position + to ? resized(now, c.position + to) : now.slice();
          now.set(data.subarray(at, to), c.position + at);
        }
        at = to;
      }
      files.set(c.path, now);
    }
  });
  return files;
}

describe("power loss", () => {
  it("at any moment, with any pages written back: the sources come back at one of the states", async () => {
    const state = join(directory, "state");
    const paths = [join(directory, "a"), join(directory, "b")];
    const initial = new Map(contentAfter(0).map((content, i) => [paths[i]!, content]));
    for (const [path, content] of initial) writeFileSync(path, content);
    const child = spawnSync(process.execPath, [script.path, state, ...paths], { encoding: "utf8", maxBuffer: 2 ** 28 });
    expect(child.stderr).toBe("");
    const changes = JSON.parse(child.stdout) as Change[];
    const seen = new Set<number>();
    for (let count = 0; count <= changes.length; count++) {
      for (let round = 0; round < 4; round++) {
        const label = `after ${count} changes, round ${round}`;
        rmSync(state, { recursive: true });
        mkdirSync(state);
        for (const [path, content] of disk(changes, count, initial, random(count * 100 + round))) {
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, content);
        }
        const report = await recoverSource(paths, { stateDirs: [state] });
        expect(report?.unresolved ?? false, `${label}: ${report?.messages.join()}`).toBe(false);
        const now = paths.map((p) => readFileSync(p));
        const at = STATES.findIndex((s) => s.every((content, i) => content.equals(now[i]!)));
        expect(at, label).toBeGreaterThanOrEqual(0);
        seen.add(at);
        // The copies have other times than the originals had, so only --force gets past the first check.
        const run = listRuns([state]).runs[0]?.record;
        if (run?.status === "interrupted" || run?.status === "committed") {
          await undoRun(run.run, { stateDirs: [state], force: true });
          expect(
            paths.every((p, i) => readFileSync(p).equals(STATES[0]![i]!)),
            label,
          ).toBe(true);
        }
      }
    }
    expect([...seen].sort()).toEqual([0, 1, 2]);
  });
});
