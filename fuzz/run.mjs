// Bundles the fuzzer and starts it: the floor of Node versions cannot run TypeScript by itself, and one script keeps the coverage cheap.
import { mkdirSync } from "node:fs";
import { build } from "esbuild";

// Inside node_modules, so that the packages that stay outside the bundle are found.
const outdir = "node_modules/.cache/unterbau-fuzz";
process.chdir(new URL("..", import.meta.url).pathname);
mkdirSync(outdir, { recursive: true });
await build({
  entryPoints: { main: "fuzz/main.ts", worker: "fuzz/engine/worker.ts" },
  outdir,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  external: ["koffi", "@node-rs/argon2", "hash-wasm", "esbuild"],
  banner: { js: 'import { createRequire as __cr } from "node:module"; const require = __cr(import.meta.url);' },
  sourcemap: "linked",
  sourcesContent: false,
  logLevel: "warning",
});
process.setSourceMapsEnabled(true);
await import(new URL(`../${outdir}/main.mjs`, import.meta.url).href);
