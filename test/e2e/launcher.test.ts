import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { VERSION } from "../../src/cli/version.ts";

// Inside the project, so that a copy of dist/ finds the native packages.
const folder = join(process.cwd(), mkdtempSync("node_modules/.unterbau-launcher-"));
afterAll(() => rmSync(folder, { recursive: true }));

const node = (code: string): string => execFileSync("node", ["-e", code], { encoding: "utf8" });
const start = (dist: string): string =>
  `const launcher = require(${JSON.stringify(join(dist, "cli.js"))}); launcher.commandLine();`;
const rejected = (dist: string): string =>
  node(`${start(dist)} process.stdout.write(String(launcher.files.get("main").script.cachedDataRejected))`);
const version = (dist: string): string =>
  execFileSync("node", [join(dist, "cli.js"), "--version"], { encoding: "utf8" });

test("V8 takes the code cache that the build made", () => {
  expect(rejected(join(process.cwd(), "dist"))).toBe("false");
});

test("a cache that is cut or missing costs time, nothing else", () => {
  const dist = join(folder, "dist");
  cpSync("dist", dist, { recursive: true });
  truncateSync(join(dist, "cli/main.cache"), 5000);
  expect(rejected(dist)).toBe("true");
  expect(version(dist)).toBe(`${VERSION}\n`);
  rmSync(join(dist, "cli/main.cache"));
  expect(rejected(dist)).toBe("undefined");
  expect(version(dist)).toBe(`${VERSION}\n`);
});

test("inspect loads no more than it needs: two files, one library, none of Node's slow modules", () => {
  const disk = join(folder, "guest.qcow2");
  writeFileSync(disk, gunzipSync(readFileSync("scripts/training/guest.qcow2.gz")));
  const code = `
    ${start(join(process.cwd(), "dist"))}
    const before = new Set(process.moduleLoadList);
    launcher.commandLine().main(["inspect", ${JSON.stringify(disk)}, "--json"]).then(() => {
      const modules = process.moduleLoadList.filter((m) => !before.has(m));
      const native = process.report.getReport().sharedObjects.filter((file) => file.endsWith(".node"));
      console.error(JSON.stringify({ files: [...launcher.files.keys()], modules, native }));
    });`;
  const loaded = JSON.parse(execFileSync("sh", ["-c", 'node -e "$0" 2>&1 >/dev/null', code], { encoding: "utf8" }));
  expect(loaded.files).toEqual(["main", "quick"]);
  expect(loaded.native.map((file: string) => basename(file))).toEqual(["koffi.node"]);
  for (const slow of ["net", "tty", "stream", "crypto", "zlib", "child_process"])
    expect(loaded.modules).not.toContain(`NativeModule ${slow}`);
});

test("--debug names the lines of the sources", () => {
  const shown = execFileSync("sh", ["-c", `node dist/cli.js inspect ${folder}/nothing --debug 2>&1 || true`], {
    encoding: "utf8",
  });
  expect(shown).toMatch(/at .*src\/usecases\/open-for-reading\.ts:\d+:\d+/);
});
