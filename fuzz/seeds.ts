import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Input, Sparse, type SparseJson } from "./engine/sparse.ts";

/** From the project's folder, where both the fuzzer and the tests are started. */
const FOLDER = "fuzz/seeds";

/** The committed seeds whose file names begin with one of `prefixes`; made by fuzz/make-seeds.ts with real tools. */
export function seedsNamed(...prefixes: readonly string[]): Input[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(".json") && prefixes.some((prefix) => name.startsWith(prefix)))
    .sort()
    .map((name) => parseInput(readFileSync(join(FOLDER, name), "utf8")));
}

/** An input as it is kept in files. */
export interface InputJson {
  /** What it is, and with which tools it was made; for a regression what was wrong. */
  readonly description: string;
  readonly parts: readonly SparseJson[];
}

export function parseInput(text: string): Input {
  return (JSON.parse(text) as InputJson).parts.map(Sparse.fromJson);
}
