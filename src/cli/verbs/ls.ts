import { listText } from "../../report/files-text.ts";
import { listFiles } from "../../usecases/list-files.ts";
import type { ListFlags } from "../options.ts";
import { emit, emitJson } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";
import { tellProblems, withPath } from "./paths.ts";

export async function run(named: readonly string[], flags: ListFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  // Without a path it is the volume's root.
  const { sources, path } = named.length === 1 ? { sources: named, path: "/" } : withPath(named, 1);
  const doc = await listFiles({
    ...sourceOptions(sources, flags, keys, session),
    volume: flags.volume,
    path,
    recursive: flags.recursive ?? false,
    itself: flags.directory ?? false,
  });
  if (flags.json) await emitJson(doc);
  else await emit(listText(doc, { long: flags.long ?? false }));
  return tellProblems(doc.problems);
}
