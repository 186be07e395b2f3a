import { copyText } from "../../report/files-text.ts";
import { printable } from "../../report/units.ts";
import { copyFiles } from "../../usecases/copy-files.ts";
import type { CopyFlags } from "../options.ts";
import { emit, emitJson, note } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";
import { tellProblems, withPath } from "./paths.ts";

export async function run(named: readonly string[], flags: CopyFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  const { sources, path, destination } = withPath(named, 2);
  const doc = await copyFiles({
    ...sourceOptions(sources, flags, keys, session),
    volume: flags.volume,
    path,
    destination,
    recursive: flags.recursive ?? false,
    special: flags.special ?? false,
    ...(flags.verbose ? { onFile: (file: string) => note(printable(file)) } : {}),
  });
  if (flags.json) await emitJson(doc);
  else await emit(copyText(doc));
  return tellProblems(doc.problems);
}
