import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

/** A process that somebody started with a certain variable in its environment. */
export interface MarkedProcess {
  readonly pid: number;
  readonly argv: readonly string[];
}

/** Processes whose environment has `NAME=VALUE`, ourselves excepted; those of other users are seen by root only. */
export function markedProcesses(name: string, value: string): MarkedProcess[] {
  const mark = `${name}=${value}`;
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    if (!fields(`/proc/${pid}/environ`).includes(mark)) return [];
    return [{ pid, argv: fields(`/proc/${pid}/cmdline`) }];
  });
}

/** Waits for the end of processes that are no children of ours; true when all have ended within `seconds`. */
export async function ended(pids: readonly number[], seconds: number): Promise<boolean> {
  const last = Date.now() + seconds * 1000;
  // Nothing tells of the end of a stranger's child but a look.
  while (pids.some(isThere)) {
    if (Date.now() > last) return false;
    await pause(20);
  }
  return true;
}

function isThere(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

function fields(path: string): string[] {
  try {
    return readFileSync(path, "latin1").split("\0");
  } catch {
    return [];
  }
}
