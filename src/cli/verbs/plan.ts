import { planScript } from "../../plan/script.ts";
import { plan } from "../../usecases/plan.ts";
import { runDir } from "../../usecases/plan-store.ts";
import type { PlanFlags } from "../options.ts";
import { emit, emitJson } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";
import { VERSION } from "../version.ts";

export async function run(sources: readonly string[], flags: PlanFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const made = await plan({
    ...sourceOptions(sources, flags, keys, session),
    volumes: flags.volume ?? [],
    repair: flags.repair ?? false,
    rename: flags.rename ?? false,
    keyFiles: flags.keyFile ?? [],
    tag: null,
    runDir: runDir(),
  });
  const shown = made.checks.map(({ selector, type }) => `${selector} (${type})`).join(", ");
  const title = [`Runbook by unterbau ${VERSION}: opens, with this host's kernel, ${shown}`];
  if (flags.json) await emitJson({ schema: "unterbau/plan/1", ...made });
  else await emit(planScript(made, title));
  return 0;
}
