import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { putPrivateFile } from "./private-file.ts";

/** How the names of records end. */
const ENDING = ".json";

/** Puts a record in place of what was there, readable by its owner only. Durable when it returns. Throws `io`. */
export function putRecord(path: string, record: object): void {
  putPrivateFile(path, `${JSON.stringify(record, null, 2)}\n`);
}

/** What lies there as JSON, of any form: the caller looks whether it is a record. Null: no file of at most `maxBytes`, or no JSON. */
export function readRecord<T extends object>(path: string, maxBytes: number): Partial<T> | null {
  try {
    if (statSync(path).size > maxBytes) return null;
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return typeof value === "object" && value !== null ? (value as Partial<T>) : null;
  } catch {
    return null;
  }
}

/** Paths of the records in a folder, by name; none where it cannot be read. Those that are only being written are left out. */
export function recordsIn(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith(ENDING));
    return names.sort().map((name) => join(folder, name));
  } catch {
    return [];
  }
}
