import { printable } from "../../report/units.ts";
import { runDir } from "../../usecases/plan-store.ts";
import { runPlan } from "../../usecases/run-plan.ts";
import type { PlanFlags } from "../options.ts";
import { emitJson, note } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";

/** The checkers own stdout, or stderr where a document goes to stdout; what we have to say goes to stderr. */
export async function run(sources: readonly string[], flags: PlanFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const doc = await runPlan({
    ...sourceOptions(sources, flags, keys, session),
    volumes: flags.volume ?? [],
    repair: flags.repair ?? false,
    rename: flags.rename ?? false,
    keyFiles: flags.keyFile ?? [],
    runDir: runDir(),
    progress: (text) => note(printable(text)),
    output: flags.json ? "stderr" : "stdout",
  });
  if (flags.json) await emitJson(doc);
  if (doc.failure !== null) note(`failed: ${printable(doc.failure)}`);
  for (const { step, reason } of doc.left) note(`left: ${printable(step)}: ${printable(reason)}`);
  if (doc.left.length > 0) note("unterbau recover takes it down when it is no longer in use");
  return doc.exitCode;
}
