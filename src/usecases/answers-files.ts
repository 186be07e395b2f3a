import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DECLARATION_MONTHS, type Standing, standingOf } from "../answers/age.ts";
import type { Answers, AnswersKind, Problem } from "../answers/model.ts";
import { LARGEST_FILE, type Parsed, parseAnswers } from "../answers/parse.ts";
import { questionsOf } from "../answers/questions/index.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { putPrivateFile } from "../host/private-file.ts";
import { stateDir } from "../host/run-store.ts";

/** Where the answers lie that nobody wants elsewhere. */
export function answersFolder(): string {
  return join(stateDir(), "answers");
}

/** `client` null: the office's. Throws `usage` for a name that would be no file name. */
export function answersPath(folder: string, client: string | null): string {
  if (client === null) return join(folder, "office.yaml");
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._+-]{0,99}$/u.test(client))
    throw new StorageError("usage", `${client} cannot be a client's name here`, {
      hint: "letters, digits, spaces and . _ + - are taken: the client's full name is an answer (Q02), this one names its file",
    });
  return join(folder, "clients", `${client}.yaml`);
}

/** Null: there is no such file. Throws `io` for one that cannot be read, and `usage` for one that is too large. */
export function readText(path: string): string | null {
  try {
    if (statSync(path).size > LARGEST_FILE) throw new StorageError("usage", `${path} is too large for answers`);
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw ioError(error, `cannot read ${path}`);
  }
}

/** Throws `usage` with the first error's place; `null` when the file is not there. */
export function readAnswers(path: string, kind: AnswersKind | null): Answers | null {
  const text = readText(path);
  if (text === null) return null;
  const parsed = parseAnswers(text, kind);
  if (parsed.ok) return parsed.answers;
  const { problems } = parsed;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  throw new StorageError("usage", `${problemLine(path, problems[0]!)}${more}`, {
    hint: `all of them: unterbau report check ${path}`,
  });
}

/** As compilers write it, so that editors jump there. */
export function problemLine(path: string, { line, column, field, message }: Problem): string {
  return `${path}:${line}:${column}: ${field === "" ? "" : `${field}: `}${message}`;
}

/** What was answered so far is kept beside the file, until it is whole. */
export function draftPath(path: string): string {
  return `${path}.draft`;
}

export function saveDraft(path: string, text: string): void {
  putPrivateFile(draftPath(path), text);
}

/** Puts the file in place; its draft goes. */
export function saveAnswers(path: string, text: string): void {
  putPrivateFile(path, text);
  rmSync(draftPath(path), { force: true });
}

/** What `report init` goes on from: a draft that was left before the file itself; null: neither is there. */
export function earlier(path: string, kind: AnswersKind): { text: string; parsed: Parsed; draft: boolean } | null {
  for (const draft of [true, false]) {
    const text = readText(draft ? draftPath(path) : path);
    if (text !== null) return { text, parsed: parseAnswers(text, kind), draft };
  }
  return null;
}

export interface AnswersReport {
  readonly file: string;
  readonly problems: readonly Problem[];
  readonly answered: number;
  /** Questions that are open, or answered in part. */
  readonly open: readonly string[];
  readonly aged: readonly string[];
}

/** Judges a file of answers by today's date. Throws when there is none. */
export function checkAnswers(file: string): AnswersReport {
  const text = readText(file);
  if (text === null) throw new StorageError("usage", `${file} is not there`, { hint: "unterbau report init makes it" });
  const parsed = parseAnswers(text, null);
  if (!parsed.ok) return { file, problems: parsed.problems, answered: 0, open: [], aged: [] };
  const { kind, given } = parsed.answers;
  const now = new Date().toISOString();
  const standing = (wanted: readonly Standing[]): string[] =>
    questionsOf(kind)
      .map(({ id }) => id)
      .filter((id) => wanted.includes(standingOf(given[id], now, DECLARATION_MONTHS)));
  return {
    file,
    problems: [],
    answered: Object.keys(given).length,
    open: standing(["open", "partial"]),
    aged: standing(["aged"]),
  };
}
