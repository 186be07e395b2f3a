import { fsyncSync, readFileSync, truncateSync, writeSync } from "node:fs";

/** Adds a record to a journal of one line of JSON each; `fd` is open for appending. Durable when it returns. */
export function appendLine(fd: number, record: object): void {
  const line = Buffer.from(`${JSON.stringify(record)}\n`);
  for (let at = 0; at < line.length; ) at += writeSync(fd, line, at);
  fsyncSync(fd);
}

/** The records of a journal. A last line that was cut off never counted. Throws the system's error, or `SyntaxError`. */
export function readLines(path: string): Record<string, unknown>[] {
  const lines = readFileSync(path, "utf8").split("\n");
  lines.pop();
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Takes a last line that was cut off away, so that the next one is whole. Throws the system's error. */
export function cutHalfLine(path: string): void {
  const bytes = readFileSync(path);
  const end = bytes.lastIndexOf(0x0a) + 1;
  if (end < bytes.length) truncateSync(path, end);
}
