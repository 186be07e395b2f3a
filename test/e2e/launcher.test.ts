import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { VERSION } from "../../src/cli/version.ts";

// Inside the project, so that a copy of dist/ finds the native packages.
const folder = mkdtempSync("node_modules/.unterbau-launcher-");
afterAll(() => rmSync(folder, { recursive: true }));

const rejected = (dist: string): string =>
  execFileSync("node", ["-p", `String(require(${JSON.stringify(dist)}).load().script.cachedDataRejected)`], {
    encoding: "utf8",
  }).trim();
const version = (dist: string): string =>
  execFileSync("node", [join(dist, "cli.js"), "--version"], { encoding: "utf8" });

test("V8 takes the code cache that the build made", () => {
  expect(rejected(join(process.cwd(), "dist/cli.js"))).toBe("false");
});

test("a cache that is cut or missing costs time, nothing else", () => {
  const dist = join(process.cwd(), folder, "dist");
  cpSync("dist", dist, { recursive: true });
  truncateSync(join(dist, "unterbau.cache"), 5000);
  expect(rejected(join(dist, "cli.js"))).toBe("true");
  expect(version(dist)).toBe(`${VERSION}\n`);
  rmSync(join(dist, "unterbau.cache"));
  expect(rejected(join(dist, "cli.js"))).toBe("undefined");
  expect(version(dist)).toBe(`${VERSION}\n`);
});
