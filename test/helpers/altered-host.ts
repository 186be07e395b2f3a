import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { AuditDocument, FileStat } from "../../src/audit/model.ts";
import { audit } from "../../src/usecases/audit.ts";
import { GOOD, RECORDED_AT, SCOPE } from "./hosts.ts";

interface Recorded {
  argv: string[];
  exit: number;
  stdout: string | { file: string };
  stderr: string;
}

/** What is different from the good host. */
export interface Alteration {
  /** Of commands whose words, joined by blanks, hold this: their output is changed so; null: the program is not there. */
  readonly commands?: Readonly<Record<string, ((stdout: string) => string) | null>>;
  readonly added?: readonly { readonly argv: readonly string[]; readonly stdout: string; readonly exit?: number }[];
  readonly files?: Readonly<Record<string, string>>;
  readonly stat?: Readonly<Record<string, Partial<FileStat>>>;
  readonly scope?: (text: string) => string;
}

/** Audits the good host with something changed. Throws when a change changes nothing. */
export async function auditAltered(change: Alteration): Promise<AuditDocument> {
  const root = mkdtempSync(join(tmpdir(), "unterbau-host-"));
  try {
    const put = (path: string, text: string) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    };
    put(".recorded/commands.json", JSON.stringify([...changedCommands(change), ...(change.added ?? []).map(whole)]));
    const stats = JSON.parse(readFileSync(join(GOOD, ".recorded/stat.json"), "utf8"));
    const changed = Object.entries(change.stat ?? {}).map(([path, stat]) => [path, { ...stats[path], ...stat }]);
    put(".recorded/stat.json", JSON.stringify(Object.fromEntries(changed)));
    for (const [path, text] of Object.entries(change.files ?? {})) put(path, text);
    const scope = readFileSync(SCOPE, "utf8");
    const said = change.scope?.(scope) ?? scope;
    if (change.scope && said === scope) throw new Error("the declaration did not change");
    put(".recorded/scope.yaml", said);
    return await audit({
      guests: [],
      roots: [root, GOOD],
      scope: join(root, ".recorded/scope.yaml"),
      version: "0.0.0",
      now: () => RECORDED_AT,
    });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function changedCommands({ commands = {} }: Alteration): Recorded[] {
  const all: Recorded[] = JSON.parse(readFileSync(join(GOOD, ".recorded/commands.json"), "utf8"));
  return Object.entries(commands).flatMap(([words, edit]) => {
    const fitting = all.filter((c) => c.argv.join(" ").includes(words));
    if (fitting.length === 0) throw new Error(`no command has ${words}`);
    const edited = fitting.map((command) => {
      const text =
        typeof command.stdout === "string"
          ? command.stdout
          : readFileSync(join(GOOD, ".recorded", command.stdout.file), "utf8");
      // As a shell says that there is no such program.
      return edit === null
        ? { ...command, exit: 127, stdout: "", stderr: "not found" }
        : { ...command, stdout: edit(text) };
    });
    if (edited.every((e, i) => JSON.stringify(e) === JSON.stringify(fitting[i])))
      throw new Error(`${words} did not change`);
    return edited;
  });
}

function whole({ argv, stdout, exit = 0 }: { argv: readonly string[]; stdout: string; exit?: number }): Recorded {
  return { argv: [...argv], exit, stdout, stderr: "" };
}
