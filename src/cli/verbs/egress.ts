import { egressNotes, egressUndoText } from "../../report/egress-text.ts";
import { applyEgress, undoEgress } from "../../usecases/egress-apply.ts";
import { planEgress } from "../../usecases/egress-plan.ts";
import type { EgressFlags } from "../egress-verbs.ts";
import { emit, emitJson, note } from "../output.ts";
import type { Session } from "../session.ts";

export async function run(
  [action, what = ""]: readonly string[],
  flags: EgressFlags,
  { signal }: Session,
): Promise<number> {
  if (action === "undo") {
    const doc = await undoEgress(what, signal);
    if (flags.json) await emitJson(doc);
    else await emit(egressUndoText(doc));
    return 0;
  }
  const { scope = "", format = "nwfilter", connect, apply } = flags;
  const plan = await planEgress({ guest: what.replace(/^vm:/, ""), scope, format, connect, signal });
  const doc = apply ? await applyEgress(plan, signal) : plan.document;
  if (flags.json) {
    await emitJson(doc);
    return 0;
  }
  await emit(doc.rules);
  for (const line of egressNotes(doc)) note(line);
  return 0;
}
