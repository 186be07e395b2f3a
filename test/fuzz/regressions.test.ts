import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runOnce } from "../../fuzz/engine/oracle.ts";
import { type InputJson, parseInput } from "../../fuzz/seeds.ts";
import { targetNamed } from "../../fuzz/targets/index.ts";

/**
 * Inputs on which a parser once threw something else than a StorageError, hung, or cost too much; `description` says what. They must
 * end within ten seconds of processor time and with the oracle content.
 */
const FOLDER = "fuzz/regressions";
const CPU_MS = 10_000;

const all = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".json"));

describe("what the fuzzer found once", () => {
  it.each(all)("%s", async (name) => {
    const text = readFileSync(join(FOLDER, name), "utf8");
    expect((JSON.parse(text) as InputJson).description).not.toBe("");
    const before = process.cpuUsage();
    const { verdict } = await runOnce(targetNamed(name.split("/")[0]!), parseInput(text));
    const used = process.cpuUsage(before);
    expect(verdict?.message ?? null).toBeNull();
    expect((used.user + used.system) / 1000).toBeLessThan(CPU_MS);
  });

  it("knows some", () => expect(all.length).toBeGreaterThan(0));
});
