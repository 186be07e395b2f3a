import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { pruneChecks } from "./check-store.ts";

it("forgets the verdicts that are older than a day, and what a killed command left half written then", () => {
  const state = mkdtempSync(join(tmpdir(), "unterbau-checks-"));
  try {
    const folder = join(state, "checks");
    mkdirSync(folder);
    const record = (checked: string) => JSON.stringify({ schema: "unterbau/checked/1", checked, verdict: "clean" });
    const files = {
      "old.json": record("2026-01-01T00:00:00.000Z"),
      "edge.json": record("2026-03-01T00:00:00.000Z"),
      "new.json": record("2026-03-01T00:00:00.001Z"),
      "junk.json": "junk",
      "half.json.1234": "{",
      "fresh.json.1234": "{",
    };
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(folder, name), text);
      const written = new Date(name.startsWith("fresh") ? "2026-04-01" : "2026-02-01");
      utimesSync(join(folder, name), written, written);
    }
    mkdirSync(join(folder, "folder.json"));
    expect(pruneChecks(new Date("2026-03-01T00:00:00Z"), [state, join(state, "none")])).toBe(3);
    expect(readdirSync(folder).sort()).toEqual(["folder.json", "fresh.json.1234", "new.json"]);
  } finally {
    rmSync(state, { recursive: true });
  }
});
