import { openRun } from "../../src/host/run.ts";
import { BATCHES, doBatch } from "./scenario.ts";
import { traceChanges } from "./trace.ts";

/** node trace-child.mjs STATE PATH…: does the scenario and prints every change of a file as JSON. */
const [stateDir, ...paths] = process.argv.slice(2);
const changes = traceChanges();
{
  await using run = await openRun({ verb: "test", stateDir, sources: paths.map((path) => ({ path })) });
  for (let batch = 0; batch < BATCHES.length; batch++) {
    await doBatch(batch, [run.device(0), run.device(1)]);
    await run.commit();
  }
}
process.stdout.write(JSON.stringify(changes));
