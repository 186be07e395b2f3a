// Bundles the command line and the library into dist/, and lets V8 compile the command line ahead (docs/adr/0005-code-cache.md).
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { build } from "esbuild";
import { bundleCommandLine } from "./bundle-cli.mjs";

/** Built beside and then put in place: a command that starts meanwhile finds one or the other whole. */
const out = `dist.${process.pid}`;

try {
  mkdirSync(join(out, "cli"), { recursive: true });
  await bundleCommandLine(join(out, "cli"));
  await build({
    entryPoints: { index: "src/index.ts" },
    outdir: join(out, "lib"),
    bundle: true,
    platform: "node",
    target: "node20.19",
    splitting: true,
    format: "esm",
    chunkNames: "chunks/[name]-[hash]",
    // They carry binaries of their own.
    external: ["koffi", "@node-rs/argon2", "hash-wasm"],
    sourcemap: "linked",
    sourcesContent: false,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    logLevel: "warning",
  });
  copyFileSync("scripts/launcher.cjs", join(out, "cli.js"));
  chmodSync(join(out, "cli.js"), 0o755);
  writeFileSync(join(out, "package.json"), '{ "type": "commonjs" }\n');
  writeFileSync(join(out, "lib", "package.json"), '{ "type": "module" }\n');
  const old = `${out}.old`;
  rename("dist", old);
  renameSync(out, "dist");
  rmSync(old, { recursive: true, force: true });
  // Only now: what V8 compiled remembers where it lay.
  train();
} finally {
  rmSync(out, { recursive: true, force: true });
}

function train() {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-build-"));
  try {
    const disk = join(folder, "guest.qcow2");
    writeFileSync(disk, gunzipSync(readFileSync("scripts/training/guest.qcow2.gz")));
    const env = { ...process.env, XDG_STATE_HOME: folder, TMPDIR: folder };
    execFileSync(process.execPath, ["scripts/train.cjs", "dist", disk], {
      env,
      stdio: ["ignore", "ignore", "inherit"],
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function rename(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}
