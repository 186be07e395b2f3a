import { trimRunText, trimText } from "../../report/trim-text.ts";
import { explainTrim, runTrim } from "../../usecases/trim.ts";
import { Keys } from "../keys.ts";
import type { TrimFlags } from "../life-verbs.ts";
import { emit, emitJson, note, palette, STDOUT } from "../output.ts";
import type { Session } from "../session.ts";

export async function run(
  [action, guest = ""]: readonly string[],
  flags: TrimFlags,
  session: Session,
): Promise<number> {
  const { connect, keyFile, keyFd, prompt = true, live = false } = flags;
  const base = { guest, connect, signal: session.signal, note };
  if (action === "run") {
    const doc = await runTrim(base);
    if (flags.json) await emitJson(doc);
    else await emit(trimRunText(doc, palette(STDOUT)));
    return 0;
  }
  using keys = new Keys({ keyFile, keyFd, prompt });
  const doc = await explainTrim({ ...base, keys, live });
  if (flags.json) await emitJson(doc);
  else await emit(trimText(doc, palette(STDOUT)));
  return doc.exitCode;
}
