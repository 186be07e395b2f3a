import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";

/** Wall seconds and peak memory (MiB) of a whole command, by GNU time. Throws when it ends with an unexpected code. */
export function once(command, { codes = [0], env = {} } = {}) {
  const started = process.hrtime.bigint();
  const run = spawnSync("/usr/bin/time", ["-f", "@@%M", ...command], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
    maxBuffer: 1 << 28,
  });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const stderr = String(run.stderr);
  if (!codes.includes(run.status))
    throw new Error(`${command.join(" ")} ended with ${run.status}:\n${stderr.slice(-2000)}`);
  return { seconds, mib: Number(/@@(\d+)/.exec(stderr)?.[1] ?? Number.NaN) / 1024 };
}

/** Runs each candidate in turn, round after round, so that a drift of the machine meets all alike. Medians. */
export function compare(candidates, rounds = 5, before = () => {}) {
  const results = candidates.map(() => []);
  for (let round = -1; round < rounds; round++) {
    candidates.forEach((candidate, i) => {
      before();
      const r = candidate();
      if (round >= 0) results[i].push(r);
    });
  }
  return results.map((rs) => ({ seconds: median(rs.map((r) => r.seconds)), mib: median(rs.map((r) => r.mib)) }));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Empties the page cache (root only). */
export function dropCaches() {
  spawnSync("sync");
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}
