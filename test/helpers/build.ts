import { execFileSync } from "node:child_process";

/** Vitest's global setup: the end-to-end tests run what users run, the bundle in dist/. */
export default function setup(): void {
  execFileSync("node", ["scripts/build.mjs"], { stdio: "inherit" });
}
