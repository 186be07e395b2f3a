// Bundles the command line and the library into dist/, and lets V8 compile the command line ahead (dist/unterbau.cache).
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

/** Built beside and then put in place: a command that starts meanwhile finds one or the other whole. */
const out = `dist.${process.pid}`;
const KOFFI = 'createRequire(import.meta.url)("koffi")';
const CHILD_PROCESS = "const childProcess = require('node:child_process');";
const common = {
  bundle: true,
  platform: "node",
  target: "node20.19",
  // They carry binaries of their own.
  external: ["koffi", "@node-rs/argon2", "hash-wasm"],
  sourcemap: "linked",
  sourcesContent: false,
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "warning",
};

/** `from`, which has to be there, becomes `to` in the files whose path matches. */
const replacing = (filter, from, to) => ({
  name: `replace in ${filter}`,
  setup: (builder) =>
    builder.onLoad({ filter }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      if (!text.includes(from)) throw new Error(`${path} no longer holds ${from}`);
      return { contents: text.replace(from, () => to), loader: path.endsWith(".ts") ? "ts" : "js" };
    }),
});

try {
  mkdirSync(out, { recursive: true });
  await build({
    ...common,
    entryPoints: ["src/cli/main.ts"],
    outfile: join(out, "unterbau.cjs"),
    format: "cjs",
    // V8's cache holds for CommonJS only; there, what an ES module calls import.meta.url is made from the file's name.
    define: { "import.meta.url": "__moduleUrl" },
    // A vm.Script cannot import(): packages are required when they are needed.
    supported: { "dynamic-import": false },
    // Finding and compiling koffi's own files takes longer than loading its library. Where its parts lie apart (pnpm), they are found the long way.
    external: ["@koromix/*", "zstddec", ...common.external.filter((name) => name !== "koffi")],
    plugins: [
      replacing(/\/host\/ffi\.ts$/, KOFFI, `(() => { try { return require("koffi"); } catch { return ${KOFFI}; } })()`),
      // Only for commands that are programs of their own, of which there are none.
      replacing(
        /\/commander\/lib\/command\.js$/,
        CHILD_PROCESS,
        "const childProcess = { get spawn() { return require('node:child_process').spawn; } };",
      ),
    ],
    banner: { js: 'const __moduleUrl = require("node:url").pathToFileURL(__filename).href;' },
  });
  await build({
    ...common,
    entryPoints: { index: "src/index.ts" },
    outdir: join(out, "lib"),
    splitting: true,
    format: "esm",
    chunkNames: "chunks/[name]-[hash]",
  });
  copyFileSync("scripts/launcher.cjs", join(out, "cli.js"));
  chmodSync(join(out, "cli.js"), 0o755);
  writeFileSync(join(out, "package.json"), '{ "type": "commonjs" }\n');
  writeFileSync(join(out, "lib", "package.json"), '{ "type": "module" }\n');
  train();
  const old = `${out}.old`;
  rename("dist", old);
  renameSync(out, "dist");
  rmSync(old, { recursive: true, force: true });
} finally {
  rmSync(out, { recursive: true, force: true });
}

function train() {
  const folder = mkdtempSync(join(tmpdir(), "unterbau-build-"));
  try {
    const disk = join(folder, "guest.qcow2");
    writeFileSync(disk, gunzipSync(readFileSync("scripts/training/guest.qcow2.gz")));
    const env = { ...process.env, XDG_STATE_HOME: folder, TMPDIR: folder };
    execFileSync(process.execPath, ["scripts/train.cjs", out, disk], { env, stdio: ["ignore", "ignore", "inherit"] });
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
