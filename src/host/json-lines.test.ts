import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { appendLine, cutHalfLine, readLines } from "./json-lines.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-lines-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a line that was cut off at any byte does not count, and the next one is whole", () => {
  const path = join(folder, "journal");
  const first = `${JSON.stringify({ n: 1 })}\n`;
  const second = Buffer.from(`${JSON.stringify({ name: "Zürich\n" })}\n`);
  for (let kept = 0; kept < second.length; kept++) {
    writeFileSync(path, Buffer.concat([Buffer.from(first), second.subarray(0, kept)]));
    expect(readLines(path)).toEqual([{ n: 1 }]);
    cutHalfLine(path);
    expect(readFileSync(path, "utf8")).toBe(first);
    const fd = openSync(path, "a");
    appendLine(fd, { n: 2 });
    closeSync(fd);
    expect(readLines(path)).toEqual([{ n: 1 }, { n: 2 }]);
  }
});
