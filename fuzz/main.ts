import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Finding, fuzz } from "./engine/supervise.ts";
import { addSeed, makeSeeds } from "./make-seeds.ts";
import type { InputJson } from "./seeds.ts";
import { TARGETS, targetNamed } from "./targets/index.ts";

const USAGE = `Usage: npm run fuzz -- [TARGET…] [--seconds N] [--runs N] [--seed N] [--first] [--out FOLDER]
       npm run fuzz -- --make-seeds
       npm run fuzz -- --add-seed NAME DESCRIPTION DISK…

Fuzzes the targets (all of them if none is named) one after another, each for N seconds (60) or N inputs. The same seed and
number of inputs give the same run. --first ends a target at its first finding. Findings are written to FOLDER and make the exit status 1.
Targets: ${TARGETS.map((t) => t.name).join(" ")}
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "60" },
    runs: { type: "string", default: "Infinity" },
    seed: { type: "string", default: "1" },
    first: { type: "boolean", default: false },
    out: { type: "string", default: "node_modules/.cache/unterbau-fuzz/findings" },
    "make-seeds": { type: "boolean", default: false },
    "add-seed": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function keep(finding: Finding, number: number): string {
  const path = join(values.out, `${finding.target}-${number}.json`);
  const { kind, message, stack } = finding.verdict;
  const json: InputJson = { description: `${kind}: ${message}`, parts: finding.input };
  mkdirSync(values.out, { recursive: true });
  writeFileSync(path, `${JSON.stringify({ ...json, stack: stack.split("\n") })}\n`);
  return path;
}

async function fuzzAll(): Promise<number> {
  const targets = positionals.length > 0 ? positionals.map(targetNamed) : TARGETS;
  let found = 0;
  for (const target of targets) {
    const began = performance.now();
    const result = await fuzz({
      script: new URL("./worker.mjs", import.meta.url),
      target: target.name,
      seed: Number(values.seed),
      runs: Number(values.runs),
      seconds: Number(values.seconds),
      first: values.first,
    });
    const seconds = (performance.now() - began) / 1000;
    say(
      `${target.name}: ${result.runs} inputs in ${seconds.toFixed(1)} s, ${result.characters} characters of code, ${result.corpus} kept, ${result.findings.length} findings`,
    );
    for (const finding of result.findings) {
      say(`  ${finding.verdict.key}\n  ${finding.verdict.message}\n  ${keep(finding, ++found)}`);
    }
  }
  return found;
}

if (values.help) say(USAGE);
else if (values["make-seeds"]) makeSeeds();
else if (values["add-seed"]) await addSeed(...(positionals as [string, string]));
else process.exitCode = (await fuzzAll()) === 0 ? 0 : 1;
