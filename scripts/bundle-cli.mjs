// Makes the command line: esbuild's chunks (one for each verb, and what they share), as CommonJS functions in a few files that the launcher loads.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { build, transform } from "esbuild";

const KOFFI = 'createRequire(import.meta.url)("koffi")';
const CHILD_PROCESS = "const childProcess = require('node:child_process');";
/** What these load takes milliseconds: they are loaded at the first use. Node has loaded the others at its own start. */
const LAZY = ["child_process", "crypto", "net", "os", "stream", "tty", "zlib"];
/** File → whose chunks lie together in it, as far as they are in no file before: to read one takes less time than to read many. */
const FILES = {
  main: "src/cli/main.ts",
  quick: "src/cli/verbs/inspect.ts",
  check: "src/cli/verbs/check.ts",
};

/** Writes `NAME.cjs` and `NAME.cjs.map` into `folder`; `main.cjs` knows in which file each chunk lies. */
export async function bundleCommandLine(folder) {
  const { outputFiles, metafile } = await build({
    entryPoints: { main: "src/cli/main.ts" },
    outdir: folder,
    write: false,
    metafile: true,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    // They carry binaries of their own. Finding and compiling koffi's own files takes longer than loading its library; where its parts lie apart (pnpm), they are found the long way.
    external: ["@koromix/*", "zstddec", "@node-rs/argon2", "hash-wasm", "@myriaddreamin/typst-ts-node-compiler"],
    define: { "import.meta.url": "__moduleUrl" },
    sourcemap: "inline",
    sourcesContent: false,
    legalComments: "none",
    logLevel: "warning",
    plugins: [
      replacing(
        /\/ffi\/koffi\.ts$/,
        KOFFI,
        `(() => { try { return require("koffi"); } catch { return ${KOFFI}; } })()`,
      ),
      // Only for commands that are programs of their own, of which there are none.
      replacing(
        /\/commander\/lib\/command\.js$/,
        CHILD_PROCESS,
        "const childProcess = { get spawn() { return require('node:child_process').spawn; } };",
      ),
    ],
  });
  const chunks = new Map();
  for (const { path, text } of outputFiles) chunks.set(basename(path), await commonJs(basename(path), text));
  const files = group(metafile);
  const index = {};
  for (const [file, names] of files) for (const name of names) index[`./${name}`] = file;
  for (const [file, names] of files) {
    const also = file === "main" ? [`index:${JSON.stringify(index)},`] : [];
    write(folder, file, names, chunks, also);
  }
}

/** One chunk as a CommonJS function's body, with the way back to the sources. */
async function commonJs(name, text) {
  const { code, map } = await transform(text, {
    format: "cjs",
    platform: "node",
    target: "node20.19",
    // A vm.Script cannot import(): chunks and packages are required when they are needed.
    supported: { "dynamic-import": false },
    sourcemap: "external",
    sourcesContent: false,
    sourcefile: name,
    minify: true,
    legalComments: "none",
  });
  return { code: lazyBuiltins(code).trimEnd(), map: JSON.parse(map) };
}

/** `x=require("node:crypto")` becomes `x=lazy("node:crypto")`, which the launcher provides; its names are looked up when they are used. */
function lazyBuiltins(code) {
  return code.replaceAll(/\brequire\("(?:node:)?(\w+)"\)/g, (whole, name) =>
    LAZY.includes(name) ? `lazy("node:${name}")` : whole,
  );
}

/** File → chunks: those of `FILES`, and each other one for itself. */
function group({ outputs }) {
  const reach = (entry, seen = new Set()) => {
    const [path] = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === entry);
    const walk = (at) => {
      if (seen.has(at)) return;
      seen.add(at);
      for (const { path: to, kind } of outputs[at].imports) if (kind === "import-statement" && outputs[to]) walk(to);
    };
    walk(path);
    return seen;
  };
  const files = new Map(Object.keys(FILES).map((file) => [file, []]));
  const left = new Set(Object.keys(outputs));
  for (const [file, entry] of Object.entries(FILES)) {
    for (const path of reach(entry)) if (left.delete(path)) files.get(file).push(basename(path));
  }
  for (const path of left) files.set(basename(path, ".js"), [basename(path)]);
  return files;
}

/** A file is an object of functions, one for each chunk. Its source map has one section for each. */
function write(folder, file, names, chunks, also) {
  const lines = ["({", ...also];
  const sections = [];
  for (const name of names) {
    const { code, map } = chunks.get(name);
    lines.push(`"./${name}":function(exports,require,module,lazy,__moduleUrl,__filename,__dirname){`);
    sections.push({ offset: { line: lines.length, column: 0 }, map });
    lines.push(...code.split("\n"), "},");
  }
  lines.push("})");
  writeFileSync(join(folder, `${file}.cjs`), lines.join("\n"));
  writeFileSync(join(folder, `${file}.cjs.map`), JSON.stringify({ version: 3, sections }));
}

/** `from`, which has to be there, becomes `to` in the files whose path matches. */
function replacing(filter, from, to) {
  return {
    name: `replace in ${filter}`,
    setup: (builder) =>
      builder.onLoad({ filter }, ({ path }) => {
        const text = readFileSync(path, "utf8");
        if (!text.includes(from)) throw new Error(`${path} no longer holds ${from}`);
        return { contents: text.replace(from, () => to), loader: path.endsWith(".ts") ? "ts" : "js" };
      }),
  };
}
