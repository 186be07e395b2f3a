import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ioError, StorageError } from "../core/errors.ts";
import type { EvidenceReader } from "./audit-reader.ts";
import { RECORDED, type RecordedCommand, type RecordedPath } from "./audit-recorded.ts";

/** Longer outputs become files of their own. */
const INLINE = 4096;

/** Writes what was read of a host as a tree that `--root` takes. Secrets are taken out of it already. Throws `usage` when something is there. */
export function writeRecord(folder: string, reader: EvidenceReader): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (readdirSync(folder).length > 0)
      throw new StorageError("usage", `${folder} is not empty`, { hint: "name a new folder for the record" });
    const commands: RecordedCommand[] = [];
    const write = (path: string, content: string | Uint8Array) => {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, content, { mode: 0o600 });
    };
    for (const { n, kind, what, exit, version, content, stderr } of reader.evidence) {
      if (kind === "file") write(join(folder, what[0]!), content);
      if (kind !== "command") continue;
      const text = Buffer.from(content).toString("utf8");
      const file = `${String(n).padStart(4, "0")}-${what[0]!.replaceAll("/", "_")}`;
      if (text.length > INLINE) write(join(folder, RECORDED, file), text);
      commands.push({ argv: what, exit: exit ?? 0, stdout: text.length > INLINE ? { file } : text, stderr, version });
    }
    const { stats, lists, reals, heads, unread } = reader.asked;
    const paths: Record<string, RecordedPath> = {};
    const add = (path: string, facts: RecordedPath) => {
      paths[path] = { ...paths[path], ...facts };
    };
    for (const [path, list] of lists) add(path, { list });
    for (const [path, real] of reals) add(path, { real });
    for (const [path, head] of heads) add(path, { head: head && Buffer.from(head).toString("base64") });
    for (const [path, unreadable] of unread) add(path, { unreadable });
    write(join(folder, RECORDED, "commands.json"), json(commands));
    write(join(folder, RECORDED, "stat.json"), json(Object.fromEntries([...stats].sort(byName))));
    write(join(folder, RECORDED, "paths.json"), json(Object.fromEntries(Object.entries(paths).sort(byName))));
  } catch (error) {
    throw error instanceof StorageError ? error : ioError(error, `cannot write the record to ${folder}`);
  }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}
