import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { printable } from "../report/units.ts";

/** The launcher's folder, where the bundle's files lie with their maps. */
const FOLDER = dirname(fileURLToPath(import.meta.url));

/** A stack trace with the files and lines of the sources, where it names files of the bundle. */
export function sourceTrace(stack: string): string {
  const maps = new Map<string, SourceMap | null>();
  const mapOf = (file: string): SourceMap | null => {
    let map = maps.get(file);
    if (map === undefined) {
      try {
        map = new SourceMap(JSON.parse(readFileSync(join(FOLDER, "cli", `${basename(file)}.map`), "utf8")));
      } catch {
        map = null;
      }
      maps.set(file, map);
    }
    return map;
  };
  const frame = /(\/[^\s:()]+\.cjs):(\d+):(\d+)/g;
  return stack.replace(frame, (whole, file: string, line: string, column: string) => {
    const entry = mapOf(file)?.findEntry(Number(line) - 1, Number(column) - 1);
    if (!entry || !("originalSource" in entry)) return whole;
    const source = printable(entry.originalSource.replace(/^(\.\.\/)+/, ""));
    return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}
