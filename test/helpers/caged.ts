import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { buildSync } from "esbuild";
import type { BlockDevice } from "../../src/core/device.ts";
import { type RunOnFileOptions, type RunResult, runOnFile } from "../../src/usecases/run-on-file.ts";

export interface Ran extends RunResult {
  /** Standard output and error, in their order. */
  readonly output: string;
}

/** Runs a program on a device and keeps what it says. */
export async function runCaged(
  device: BlockDevice,
  argv: readonly string[],
  options: Partial<RunOnFileOptions> = {},
): Promise<Ran> {
  const chunks: Uint8Array[] = [];
  const result = await runOnFile({
    device,
    writable: true,
    argv,
    cage: "checker",
    stdout: (c) => chunks.push(Uint8Array.from(c)),
    stderr: "stdout",
    timeoutMs: 60_000,
    ...options,
  });
  return { ...result, output: Buffer.concat(chunks).toString("utf8") };
}

/**
 * Makes one plain script of a TypeScript file, with the native packages beside it, in a folder that every user may read:
 * for tests that need this program as a process of its own. Returns the script's path.
 */
export function bundleFor(folder: string, source: string): string {
  const out = join(folder, "bundle");
  const installed = join(dirname(createRequire(import.meta.url).resolve("koffi")), "..");
  mkdirSync(join(out, "node_modules"), { recursive: true });
  for (const name of ["koffi", "@koromix"]) {
    cpSync(join(installed, name), join(out, "node_modules", name), { recursive: true });
  }
  for (const dir of [folder, out]) chmodSync(dir, 0o755);
  const script = join(out, "main.mjs");
  buildSync({
    entryPoints: [source],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["koffi"],
    outfile: script,
    logLevel: "warning",
  });
  return script;
}
