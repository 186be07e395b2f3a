/**
 * Not a test: `SOURCE TARGET CHUNK [LUKS-KEY-FILE]` copies, and kills itself when CHUNK pieces are copied (0: never).
 * SPOIL=1: changes the copy before it is verified.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { convert } from "../../src/usecases/convert.ts";

const [source, target, chunk, key] = process.argv.slice(2);
const secret = key === undefined ? [] : [{ bytes: readFileSync(key), origin: key }];
let pieces = 0;
const doc = await convert({
  sources: [source!],
  target: target!,
  to: key === undefined ? undefined : "luks",
  keys: { secretsFor: async () => [] },
  targetKeys: { secretsFor: async ({ attempt }) => (attempt === 1 ? secret : []) },
  overwrite: key !== undefined,
  verify: true,
  checkpointBytes: 8 * 1024 * 1024,
  onProgress: (phase, { done, total }) => {
    if (phase !== "copying") return;
    if (++pieces === Number(chunk)) process.kill(process.pid, "SIGKILL");
    if (done < total || !process.env.SPOIL) return;
    const fd = openSync(`${target}.part`, "r+");
    writeSync(fd, "spoiled", 1_000_000);
    closeSync(fd);
  },
});
process.stdout.write(JSON.stringify(doc));
