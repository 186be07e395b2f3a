import { spawnSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";

/** Makes Node parse all of the system's certificates at each start, which has nothing to do with what is measured. */
delete process.env.NODE_EXTRA_CA_CERTS;

/**
 * Wall seconds, CPU seconds (user and system, with all children) and peak memory (MiB, of the largest process) of a whole command, by GNU time.
 * A string is a shell's command line. `pipe`: what it writes goes through a pipe, whose reader is not measured. Throws when it ends with an
 * unexpected code.
 */
export function once(command, { codes = [0], env = {}, pipe = false } = {}) {
  const argv = typeof command === "string" ? ["sh", "-c", command] : command;
  const timed = ["/usr/bin/time", "-f", "@@%M %U %S", ...argv];
  const [program, ...args] = pipe ? ["bash", "-o", "pipefail", "-c", '"$@" | cat > /dev/null', "-", ...timed] : timed;
  const started = process.hrtime.bigint();
  const run = spawnSync(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
    maxBuffer: 1 << 28,
  });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const stderr = String(run.stderr);
  if (!codes.includes(run.status))
    throw new Error(`${argv.join(" ")} ended with ${run.status}:\n${stderr.slice(-2000)}`);
  const [, mib, user, system] = /@@(\d+) ([\d.]+) ([\d.]+)/.exec(stderr) ?? [];
  return { seconds, cpu: Number(user) + Number(system), mib: Number(mib) / 1024 };
}

/**
 * Runs each candidate in turn, round after round, so that a drift of the machine meets all alike; the first round does not count.
 * Medians of each figure that the candidates give.
 */
export async function compare(candidates, { rounds = 5, before = () => {} } = {}) {
  const results = candidates.map(() => []);
  for (let round = -1; round < rounds; round++) {
    for (const [i, candidate] of candidates.entries()) {
      before();
      const r = await candidate();
      if (round >= 0) results[i].push(r);
    }
  }
  return results.map((rs) => Object.fromEntries(Object.keys(rs[0]).map((key) => [key, median(rs.map((r) => r[key]))])));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/**
 * Fills a file and removes it again. A virtual machine may have given what was freed back to its host: who then writes a large file first
 * pays for getting it again, up to seconds for each GiB, and who comes next does not. What this leaves behind serves a file in its place.
 */
export function settleMemory(file, mib) {
  const piece = new Uint8Array(1024 * 1024);
  const fd = openSync(file, "w");
  for (let i = 0; i < mib; i++) writeSync(fd, piece);
  closeSync(fd);
  rmSync(file, { force: true });
}

/** Empties the page cache (root only). */
export function dropCaches() {
  spawnSync("sync");
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}
