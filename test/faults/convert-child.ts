/**
 * Not a test: `SOURCE TARGET CHUNK [LUKS-KEY-FILE]` copies, and kills itself when CHUNK pieces are copied (0: never).
 * NEW_LUKS=1: into a new file with a new LUKS2 container in it. SPOIL=1: changes the copy before it is verified.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import type { KeyRequest } from "../../src/core/layer.ts";
import { convert } from "../../src/usecases/convert.ts";
import { BUILT_IN, parametersFor } from "../../src/usecases/luks-policy.ts";

const [source, target, chunk, key] = process.argv.slice(2);
const secret = key === undefined ? [] : [{ bytes: readFileSync(key), origin: key }];
const newLuks = {
  parameters: parametersFor({ iterations: 4, memoryKiB: 65536, parallel: 1 }, BUILT_IN),
  policy: BUILT_IN,
  keys: {
    first: async () => secret[0]!,
    second: async () => null,
    showRecoveryKey: async () => {},
    secretsFor: async ({ attempt }: KeyRequest) => (attempt === 1 ? secret : []),
  },
  recoveryKey: null,
};
let pieces = 0;
const doc = await convert({
  sources: [source!],
  target: target!,
  ...(process.env.NEW_LUKS ? { newLuks } : { to: key === undefined ? undefined : "luks" }),
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
