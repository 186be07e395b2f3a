import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseInput } from "../../fuzz/seeds.ts";
import { TARGETS } from "../../fuzz/targets/index.ts";

const out = mkdtempSync(join(tmpdir(), "unterbau-fuzz-"));
afterAll(() => rmSync(out, { recursive: true, force: true }));

function fuzz(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync("node", ["fuzz/run.mjs", "--out", out, ...args], { encoding: "utf8" });
  return { status, output: stdout + stderr };
}

describe("the fuzzer finds", () => {
  const found = (name: string): string => {
    const { status, output } = fuzz(`self-${name}`, "--first", "--runs", "300000", "--seed", "1");
    expect(status, output).toBe(1);
    return output;
  };

  it("an error behind a checksum and three nested conditions, and makes its input small", () => {
    expect(found("throws")).toContain("RangeError: the value");
    const input = parseInput(readFileSync(join(out, "self-throws-1.json"), "utf8"));
    const bytes = input[0]!.read(0, 16);
    expect([...bytes.subarray(5, 7)]).toEqual([0xff, 0x80]);
    expect([...bytes.subarray(8, 15)].filter((b) => b !== 0).length).toBeLessThan(7);
  });

  it("a promise that is never settled", () => expect(found("waits")).toContain("never settled"));
  it("a buffer that is too large", () => expect(found("allocates")).toContain("bytes"));
  it("an endless loop", () => expect(found("hangs")).toMatch(/no end after \d+ ms/));
});

describe("a short run", () => {
  it("finds nothing in any target", () => {
    const { status, output } = fuzz("--runs", "100", "--seed", "20260101");
    expect(status, output).toBe(0);
    for (const { name } of TARGETS) expect(output).toMatch(new RegExp(`^${name}: 1\\d\\d inputs`, "m"));
    expect(readdirSync(out).filter((name) => !name.startsWith("self-"))).toEqual([]);
  });

  it("is the same run again for the same seed", () => {
    const twice = [0, 1].map(() => fuzz("gpt", "--runs", "150", "--seed", "7").output.replace(/in [\d.]+ s/, ""));
    expect(twice[0]).toBe(twice[1]);
    expect(twice[0]).not.toBe(fuzz("gpt", "--runs", "150", "--seed", "8").output.replace(/in [\d.]+ s/, ""));
  });
});
