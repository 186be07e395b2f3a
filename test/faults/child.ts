import { openRun } from "../../src/host/run.ts";
import { recoverSource } from "../../src/usecases/recover.ts";
import { undoRun } from "../../src/usecases/undo.ts";
import { killAtChange } from "./kill-switch.ts";
import { BATCHES, doBatch } from "./scenario.ts";

/** node child.mjs MOMENT STATE commit|recover PATH…   or   node child.mjs MOMENT STATE undo RUN */
const [moment, stateDir, what, ...rest] = process.argv.slice(2);
killAtChange(Number(moment));
if (what === "commit") {
  await using run = await openRun({ verb: "test", stateDir, sources: rest.map((path) => ({ path })) });
  for (let batch = 0; batch < BATCHES.length; batch++) {
    await doBatch(batch, [run.device(0), run.device(1)]);
    await run.commit();
  }
} else if (what === "recover") {
  const report = await recoverSource(rest, { stateDirs: [stateDir!] });
  if (report?.unresolved) throw new Error(report.messages.join("\n"));
} else {
  await undoRun(rest[0]!, { stateDirs: [stateDir!] });
}
