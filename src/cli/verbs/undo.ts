import { grouped } from "../../report/units.ts";
import { undoRun } from "../../usecases/undo.ts";
import type { UndoFlags } from "../options.ts";
import { emit, emitJson } from "../output.ts";

export async function run([id]: readonly string[], flags: UndoFlags): Promise<number> {
  const { run, sources } = await undoRun(id!, { force: flags.force ?? false });
  if (flags.json) {
    await emitJson({ schema: "unterbau/undo/1", run, sources });
    return 0;
  }
  for (const s of sources)
    await emit(`${s.path}: as it was before run ${run} (${grouped(s.restoredBytes)} bytes restored)\n`);
  if (sources.length === 0) await emit(`run ${run}: there was nothing to take back\n`);
  return 0;
}
