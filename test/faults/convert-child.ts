/** Not a test: `SOURCE TARGET CHUNK` copies, and kills itself when CHUNK pieces are copied (0: never). */
import { convert } from "../../src/usecases/convert.ts";

const [source, target, chunk] = process.argv.slice(2);
const noKeys = { secretsFor: async () => [] };
let pieces = 0;
const doc = await convert({
  sources: [source!],
  target: target!,
  keys: noKeys,
  targetKeys: noKeys,
  overwrite: false,
  verify: true,
  checkpointBytes: 8 * 1024 * 1024,
  onProgress: (phase) => {
    if (phase === "copying" && ++pieces === Number(chunk)) process.kill(process.pid, "SIGKILL");
  },
});
process.stdout.write(JSON.stringify(doc));
