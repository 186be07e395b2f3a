import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A script of this folder as one file that plain Node runs; below node_modules, so that it finds the native packages. */
export function bundleScript(name: string): { readonly path: string; cleanup(): void } {
  const cache = join(ROOT, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "unterbau-faults-"));
  const path = join(folder, "script.mjs");
  buildSync({
    entryPoints: [join(ROOT, "test", "faults", name)],
    outfile: path,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    logLevel: "error",
  });
  return { path, cleanup: () => rmSync(folder, { recursive: true }) };
}
