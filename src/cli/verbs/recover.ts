import { StorageError } from "../../core/errors.ts";
import { printable } from "../../report/units.ts";
import { recoverLiveViews } from "../../usecases/live-view.ts";
import { runDir } from "../../usecases/plan-store.ts";
import { recoverPlans } from "../../usecases/recover-plan.ts";
import type { PlainFlags } from "../options.ts";
import { emit, emitJson, note } from "../output.ts";

/** 0 when nothing is left, 1 when something is. */
export async function run(_sources: readonly string[], flags: PlainFlags): Promise<number> {
  // Views of running guests need no root; each ended one is said on stderr, as every other command does it.
  for (const line of await recoverLiveViews()) note(line);
  if (process.geteuid?.() !== 0) {
    throw new StorageError("usage", "only root may take down what the kernel has opened", {
      layer: "plan",
      hint: "sudo",
    });
  }
  const doc = await recoverPlans(runDir());
  if (flags.json) {
    await emitJson(doc);
  } else {
    if (doc.plans.length === 0) await emit("No plan has left anything.\n");
    for (const { plan, outcome, failure, undone, left } of doc.plans) {
      const text = { recovered: "all of it is taken down", running: "it is running", left: "something is left" }[
        outcome
      ];
      await emit(`${plan}: ${text}\n`);
      if (failure !== null) await emit(`  it had failed: ${printable(failure)}\n`);
      for (const step of undone) await emit(`  taken down: ${printable(step)}\n`);
      for (const { step, reason } of left)
        await emit(`  left: ${printable(`${step === "" ? "" : `${step}: `}${reason}`)}\n`);
    }
    for (const path of doc.damaged) await emit(`${printable(path)} is no journal of a plan\n`);
  }
  return doc.plans.some((p) => p.outcome === "left") || doc.damaged.length > 0 ? 1 : 0;
}
