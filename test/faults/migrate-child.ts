/**
 * Not a test: `ACTION NAME KEY-FILE KILL-AT` migrates the guest NAME to TARGET (`migrate`), goes on with a migration (`resume`), or takes
 * it back (`rollback`), and kills itself when the step KILL-AT is performed but not yet written down so; `copying`: in the middle of the copy.
 */
import { readFileSync } from "node:fs";
import type { KeyRequest } from "../../src/core/layer.ts";
import { BUILT_IN, parametersFor } from "../../src/usecases/luks-policy.ts";
import { type MigrateOptions, migrate, resumeMigration, rollbackMigration } from "../../src/usecases/migrate.ts";

const [action, name, keyFile, killAt] = process.argv.slice(2) as [string, string, string, string];
const secret = [{ bytes: readFileSync(keyFile), origin: keyFile }];
const die = () => process.kill(process.pid, "SIGKILL");
const luks = {
  parameters: parametersFor(
    { version: process.env.GROUP ? 2 : 1, iterations: process.env.GROUP ? 4 : 210_000 },
    BUILT_IN,
  ),
  policy: BUILT_IN,
  keys: {
    first: async () => secret[0]!,
    second: async () => null,
    showRecoveryKey: async () => {},
    secretsFor: async ({ attempt }: KeyRequest) => (attempt === 1 ? secret : []),
  },
  recoveryKey: null,
};
const options: MigrateOptions = {
  connect: process.env.CONNECT,
  to: process.env.GROUP,
  toFile: process.env.TARGET?.split(","),
  libvirtLuks: false,
  replace: process.env.REPLACE === "1",
  discard: false,
  overwrite: false,
  repair: false,
  sourceKeys: { secretsFor: async () => [] },
  checkpointBytes: 8 * 1024 * 1024,
  checkerTimeoutMs: 600_000,
  onStep: (step, when) => {
    if (when === "performed" && step.name === killAt) die();
  },
  onProgress: (phase, done) => {
    if (phase === "copying vda" && killAt === "copying" && done > 20 * 1024 * 1024) die();
  },
};
const document =
  action === "migrate"
    ? await migrate(name, luks, options)
    : action === "resume"
      ? await resumeMigration(name, luks, options)
      : await rollbackMigration(name, luks, { ...options, force: true });
process.stdout.write(JSON.stringify(document));
