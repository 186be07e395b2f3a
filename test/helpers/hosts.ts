import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { AuditDocument, CheckOutcome } from "../../src/audit/model.ts";
import { audit } from "../../src/usecases/audit.ts";

/** The recorded host where everything is as it should be; see test/hosts/README.md. */
export const GOOD = resolve("test/hosts/good");
/** What is declared of it. */
export const SCOPE = resolve("test/hosts/scope.yaml");
/** The good host was recorded then. */
export const RECORDED_AT = new Date("2026-11-24T06:00:00Z");

interface Command {
  readonly argv: readonly string[];
  readonly exit: number;
  readonly stdout: string | { readonly file: string };
  readonly stderr: string;
}

/** One fact of the good host, changed. */
export interface Edit {
  /** The beginning of a command line, whose output is edited. */
  readonly command?: string;
  readonly exit?: number;
  /** A file of the host's. */
  readonly file?: string;
  /** Of the command's output or the file: what is replaced (all of it where it is a string) by what; without `from` it is the whole. */
  readonly from?: string | RegExp;
  readonly to?: string;
  /** Facts of a path, for `stat.json` or `paths.json`. */
  readonly stat?: Readonly<Record<string, object | null>>;
  readonly paths?: Readonly<Record<string, object>>;
}

/** Audits the good host with these facts changed. */
export async function auditHost(edits: readonly Edit[] = [], scope = SCOPE): Promise<AuditDocument> {
  const overlay = mkdtempSync(join(tmpdir(), "host-"));
  try {
    write(overlay, edits);
    return await audit({ guests: [], roots: [overlay, GOOD], scope, version: "0.0.0", now: () => RECORDED_AT });
  } finally {
    rmSync(overlay, { recursive: true });
  }
}

/** The outcome of one check; throws when there is none. */
export function outcomeOf(doc: AuditDocument, id: string, guest: string | null = null): CheckOutcome {
  const found = doc.checks.find((c) => c.id === id && c.guest === guest);
  if (!found) throw new Error(`no outcome of ${id}`);
  return found;
}

/** `ENC-01 mail: pass encrypted encrypted` for every outcome: what a changed fact is seen by. */
export function verdicts(doc: AuditDocument): Map<string, string> {
  return new Map(
    doc.checks.map((c) => [`${c.id} ${c.guest ?? "host"}`, `${c.state} ${c.remarks.map((r) => r.code).join(" ")}`]),
  );
}

function write(overlay: string, edits: readonly Edit[]): void {
  const all = JSON.parse(readFileSync(join(GOOD, ".recorded/commands.json"), "utf8")) as Command[];
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(overlay, path)), { recursive: true });
    writeFileSync(join(overlay, path), text);
  };
  const changed = new Map<string, Command>();
  let stats = {};
  let paths = {};
  for (const edit of edits) {
    stats = { ...stats, ...edit.stat };
    paths = { ...paths, ...edit.paths };
    if (edit.file !== undefined)
      put(edit.file, replaced(edit.from === undefined ? "" : readFileSync(join(GOOD, edit.file), "utf8"), edit));
    if (edit.command === undefined) continue;
    const own = all.filter((c) => c.argv.join(" ").startsWith(edit.command!));
    // An output that the good host has none of.
    if (own.length === 0 && edit.from === undefined)
      own.push({ argv: edit.command.split(" "), exit: 0, stdout: "", stderr: "" });
    if (own.length === 0) throw new Error(`no such command: ${edit.command}`);
    for (const command of own) {
      const key = command.argv.join(" ");
      const { stdout } = changed.get(key) ?? command;
      const text = typeof stdout === "string" ? stdout : readFileSync(join(GOOD, ".recorded", stdout.file), "utf8");
      changed.set(key, {
        ...command,
        exit: edit.exit ?? 0,
        stdout: edit.to === undefined ? text : replaced(text, edit),
      });
    }
  }
  put(".recorded/commands.json", JSON.stringify([...changed.values()]));
  put(".recorded/stat.json", JSON.stringify(stats));
  put(".recorded/paths.json", JSON.stringify(paths));
}

function replaced(text: string, { from, to = "" }: Edit): string {
  if (from === undefined) return to;
  const out = typeof from === "string" ? text.replaceAll(from, to) : text.replace(from, to);
  if (out === text) throw new Error(`nothing to replace: ${from}`);
  return out;
}
