import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { RecordedSource } from "./audit-recorded.ts";

const folder = mkdtempSync(join(tmpdir(), "recorded-"));
afterAll(() => rmSync(folder, { recursive: true }));

function tree(name: string, unreadable: Record<string, string | null>, files: readonly string[] = []): string {
  const root = join(folder, name);
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const paths = Object.entries(unreadable).map(([path, why]) => [path, { unreadable: why }]);
  put(".recorded/paths.json", JSON.stringify(Object.fromEntries(paths)));
  for (const file of files) put(file, name);
  return root;
}

test("what the upper tree says of a file holds: there, not there, or why it cannot be read", async () => {
  const lower = tree("lower", { "/etc/crypttab": null, "/etc/a": "EACCES" }, ["etc/b", "etc/c"]);
  const upper = tree("upper", { "/etc/b": null, "/etc/c": "EACCES" }, ["etc/crypttab", "etc/a"]);
  const both = new RecordedSource([upper, lower]);
  const said = async (path: string) => {
    const file = await both.file(path);
    return file.kind === "bytes" ? Buffer.from(file.bytes).toString() : file.kind;
  };
  expect(await said("/etc/crypttab")).toBe("upper");
  expect(await said("/etc/a")).toBe("upper");
  expect(await said("/etc/b")).toBe("absent");
  expect(await both.file("/etc/c")).toEqual({ kind: "unreadable", reason: "EACCES" });
  expect((await new RecordedSource([lower]).file("/etc/a")).kind).toBe("unreadable");
});
