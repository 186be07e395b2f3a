import { closeSync, mkdirSync, openSync, readdirSync, realpathSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { ioError } from "../core/errors.ts";
import { syncPath } from "../core/sync-path.ts";
import { appendLine, readLines } from "../host/json-lines.ts";
import { type Owner, thisProcess } from "../host/owner.ts";
import type { Plan } from "../plan/model.ts";

const SCHEMA = "unterbau/plan-journal/1";
const ENDING = ".plan";

/** Where plans keep what they are doing: gone after a reboot, as are the devices. UNTERBAU_RUN_DIR names another place. */
export function runDir(): string {
  const named = process.env.UNTERBAU_RUN_DIR || "/run/unterbau";
  try {
    return realpathSync(named);
  } catch {
    return named;
  }
}

/** What a step chose for itself, written down before it is used. */
export interface Chosen {
  /** The device, for steps that choose one. */
  readonly device: string | null;
  /** Loop devices: the real path of what they show. */
  readonly backing: string | null;
}

/** What a journal says, for somebody who comes later. */
export interface StoredPlan {
  readonly path: string;
  readonly owner: Owner;
  readonly plan: Plan;
  /** Steps that were begun, in their order. They may be done, half done, or taken back. */
  readonly begun: ReadonlyMap<string, Chosen>;
  /** What it failed by; null: it did not, as far as it came. */
  readonly failure: string | null;
}

/** Says what is about to be done before it is done: one line of JSON each, on the disk before the call returns. */
export class PlanJournal {
  readonly path: string;
  readonly #fd: number;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  static create(folder: string, plan: Plan): PlanJournal {
    const path = join(folder, `${plan.tag}${ENDING}`);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const journal = new PlanJournal(path, openSync(path, "wx", 0o600));
      journal.#append({ schema: SCHEMA, owner: thisProcess(), plan });
      syncPath(folder);
      return journal;
    } catch (error) {
      throw ioError(error, `cannot write ${path}`, { layer: "plan" });
    }
  }

  begin(step: string, { device, backing }: Chosen): void {
    this.#append({ begin: step, device, backing });
  }

  /** Why it goes no further; what was begun is being taken back. */
  failed(reason: string): void {
    this.#append({ failed: reason });
  }

  /** The plan is over and nothing of it is left. */
  remove(): void {
    this.close();
    unlinkSync(this.path);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(record: object): void {
    appendLine(this.#fd, record);
  }
}

/** All journals in the folder; a last line that is cut off was never acted upon. `damaged`: files that are no journals. */
export function storedPlans(folder: string): {
  readonly plans: readonly StoredPlan[];
  readonly damaged: readonly string[];
} {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith(ENDING));
  } catch {
    return { plans: [], damaged: [] };
  }
  const plans: StoredPlan[] = [];
  const damaged: string[] = [];
  for (const name of names.sort()) {
    const path = join(folder, name);
    const read = readJournal(path);
    if (read) plans.push(read);
    else damaged.push(path);
  }
  return { plans, damaged };
}

function readJournal(path: string): StoredPlan | null {
  try {
    const [head, ...rest] = readLines(path);
    if (head?.schema !== SCHEMA) return null;
    const begun = new Map<string, Chosen>();
    let failure: string | null = null;
    for (const { begin, device, backing, failed } of rest) {
      if (failed !== undefined) failure = String(failed);
      else begun.set(String(begin), { device, backing } as Chosen);
    }
    return { path, owner: head.owner as Owner, plan: head.plan as Plan, begun, failure };
  } catch {
    return null;
  }
}
