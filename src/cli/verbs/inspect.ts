import { treeText } from "../../report/tree-text.ts";
import { inspect, isIncomplete } from "../../usecases/inspect.ts";
import type { SourceFlags } from "../options.ts";
import { emit, emitJson, palette, STDOUT } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";

export async function run(
  sources: readonly string[],
  flags: SourceFlags & { long?: boolean },
  session: Session,
): Promise<number> {
  using keys = session.keys(flags);
  const doc = await inspect(sourceOptions(sources, flags, keys, session));
  if (flags.json) await emitJson(doc);
  else await emit(treeText(doc, { long: flags.long ?? false, palette: palette(STDOUT) }));
  return isIncomplete(doc) ? 1 : 0;
}
