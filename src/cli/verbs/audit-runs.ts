import { stringify } from "yaml";
import { listText, verifyText } from "../../report/audit-runs-text.ts";
import { printable } from "../../report/units.ts";
import { builtInPolicy } from "../../usecases/audit-rules.ts";
import { listRuns, signRun, verifyRuns } from "../../usecases/audit-runs.ts";
import type { AuditRunsFlags } from "../audit-verbs.ts";
import { emit, emitJson, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";

/** The first operand is the action, the others are runs. */
export async function run(
  [action, ...runs]: readonly string[],
  { allowedSigners, key, json }: AuditRunsFlags,
  { signal }: Session,
): Promise<number> {
  switch (action) {
    case "verify": {
      const doc = await verifyRuns({ runs, allowedSigners, signal });
      if (json) await emitJson(doc);
      else await emit(verifyText(doc, palette(STDOUT)));
      return doc.ok ? 0 : 1;
    }
    case "sign": {
      const signature = await signRun(runs[0]!, key!, signal);
      if (json) await emitJson({ schema: "unterbau/audit-sign/1", signature });
      else await emit(`${printable(signature)}\n`);
      return 0;
    }
    case "policy":
      if (json) await emitJson({ schema: "unterbau/audit-policy/1", ...builtInPolicy() });
      else await emit(stringify(builtInPolicy()));
      return 0;
    default: {
      const doc = listRuns();
      if (json) await emitJson(doc);
      else await emit(listText(doc, palette(STDOUT)));
      return 0;
    }
  }
}
