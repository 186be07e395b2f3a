import { unlinkSync } from "node:fs";
import { describeError } from "../core/errors.ts";
import { isAlive, thisProcess } from "../host/owner.ts";
import type { Step } from "../plan/model.ts";
import { type StoredPlan, storedPlans } from "./plan-store.ts";
import { StepRunner } from "./run-steps.ts";

export interface RecoveredPlan {
  readonly plan: string;
  readonly sources: readonly string[];
  /** running: its process is alive, nothing was touched. left: something of it is still there. */
  readonly outcome: "recovered" | "running" | "left";
  /** What the plan had failed by before; null: it was cut off. */
  readonly failure: string | null;
  /** Steps that were taken back now. */
  readonly undone: readonly string[];
  /** Steps that are still there, the one that is in the way first, with the reason. */
  readonly left: readonly { readonly step: string; readonly reason: string }[];
}

export interface RecoverDocument {
  readonly schema: "unterbau/recover/1";
  readonly plans: readonly RecoveredPlan[];
  /** Files in the folder of plans that are none. */
  readonly damaged: readonly string[];
}

/** Takes down, in reverse order, what plans left whose process is gone. May be repeated, and be killed itself. Needs root. */
export async function recoverPlans(folder: string): Promise<RecoverDocument> {
  const { plans, damaged } = storedPlans(folder);
  const done: RecoveredPlan[] = [];
  for (const stored of plans) done.push(await recoverPlan(stored));
  return { schema: "unterbau/recover/1", plans: done, damaged };
}

async function recoverPlan(stored: StoredPlan): Promise<RecoveredPlan> {
  const { plan, owner, begun, path, failure } = stored;
  const result = { plan: plan.tag, sources: plan.sources, failure };
  if (isAlive(owner)) return { ...result, outcome: "running", undone: [], left: [] };
  using runner = new StepRunner(plan, begun, () => []);
  const strangers = await runner.strangers();
  if (strangers.length > 0) {
    const reason = `what the plan had started goes on: ${strangers.join(", ")}`;
    return { ...result, outcome: "left", undone: [], left: [{ step: "", reason }] };
  }
  const steps = plan.steps.filter((step) => begun.has(step.id) && (sameBoot(stored) || isFile(step)));
  const { undone, left } = await takeDown(runner, steps);
  if (left.length === 0) unlinkSync(path);
  return { ...result, outcome: left.length === 0 ? "recovered" : "left", undone, left };
}

/** After a reboot none of the devices is there, and what has their names is somebody else's; files may be. */
function isFile({ probe }: Step): boolean {
  return probe.kind === "path" && !probe.path.startsWith("/dev/");
}

function sameBoot({ owner }: StoredPlan): boolean {
  return owner.bootId === thisProcess().bootId;
}

/** Takes the steps back, last first. What one that stays stands on is in use and not touched. */
export async function takeDown(
  runner: StepRunner,
  steps: readonly Step[],
): Promise<Pick<RecoveredPlan, "undone" | "left">> {
  const undone: string[] = [];
  const left: { step: string; reason: string }[] = [];
  for (const step of [...steps].reverse()) {
    const there = runner.isDone(step);
    if (left.length > 0) {
      if (there && step.undo.length > 0) left.push({ step: step.title, reason: "what is above it is still there" });
      continue;
    }
    try {
      await runner.undo(step);
      if (there && step.undo.length > 0) undone.push(step.title);
    } catch (error) {
      left.push({ step: step.title, reason: describeError(error) });
    }
  }
  return { undone, left };
}
