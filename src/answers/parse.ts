import * as v from "valibot";
import { isMap, LineCounter, parseDocument, visit } from "yaml";
import { printable } from "../bytes/text.ts";
import type { Answer, Answers, AnswersKind, Fields, Problem } from "./model.ts";
import { questionsOf } from "./questions/index.ts";
import { answersSchema } from "./schema.ts";

/** Bytes of a file of answers; a full one has some 20 KiB. */
export const LARGEST_FILE = 512 * 1024;
const MOST_PROBLEMS = 50;

export type Parsed =
  | { readonly ok: true; readonly answers: Answers }
  | { readonly ok: false; readonly problems: readonly Problem[] };

type Path = readonly (string | number)[];

/** Reads a file of answers. `kind` null: what the file says that it is. Never throws for what is in the file. */
export function parseAnswers(source: string, kind: AnswersKind | null): Parsed {
  try {
    return parse(source, kind);
  } catch (error) {
    // The parser recurses: what is nested too deep ends its stack.
    if (!(error instanceof RangeError)) throw error;
    return { ok: false, problems: [{ line: 1, column: 1, field: "", message: "nested too deep" }] };
  }
}

function parse(source: string, wanted: AnswersKind | null): Parsed {
  const lines = new LineCounter();
  if (source.length > LARGEST_FILE)
    return { ok: false, problems: [{ line: 1, column: 1, field: "", message: `larger than ${LARGEST_FILE} bytes` }] };
  const doc = parseDocument(source, { lineCounter: lines, schema: "failsafe", prettyErrors: false, uniqueKeys: true });
  const at = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const problems: Problem[] = doc.errors.map((e) => ({ ...at(e.pos[0]), field: "", message: printable(e.message) }));
  visit(doc, {
    Alias: (_, node) => {
      problems.push({ ...at(node.range?.[0] ?? 0), field: "", message: "references (*name) are not understood here" });
      return visit.BREAK;
    },
  });
  if (problems.length > 0) return failed(problems);
  if (!isMap(doc.contents)) return failed([{ line: 1, column: 1, field: "", message: "this is no file of answers" }]);

  /** Where the deepest part of the path lies that is there. */
  const place = (path: Path): { line: number; column: number } => {
    for (let n = path.length; n > 0; n--) {
      const parent = n === 1 ? doc.contents : doc.getIn(path.slice(0, n - 1), true);
      if (isMap(parent)) {
        const pair = parent.items.find(({ key }) => String(key) === String(path[n - 1]));
        const key = pair?.key as { range?: [number, number, number] } | undefined;
        if (key?.range) return at(key.range[0]);
      }
      const node = doc.getIn(path.slice(0, n), true) as { range?: [number, number, number] } | undefined;
      if (node?.range) return at(node.range[0]);
    }
    return { line: 1, column: 1 };
  };
  const problem = (path: Path, message: string): Problem => ({ ...place(path), field: fieldName(path), message });

  const plain = doc.toJS({ maxAliasCount: 0 }) as Record<string, unknown>;
  const kind = wanted ?? (plain.file === "office" ? "office" : "client");
  const checked = v.safeParse(answersSchema(kind), plain);
  if (!checked.success)
    return failed(
      checked.issues.flatMap((issue) => deepest(issue)).map(({ path, message }) => problem(path, printable(message))),
    );
  return gather(kind, checked.output as Output, problem);
}

type Who = { readonly by: string | null; readonly date: string | null };
type Output = { readonly language: "de" | "en"; readonly guests?: string[] | "" } & Readonly<
  Record<string, (Who & { readonly rows?: Fields[] } & Fields) | "">
>;

function gather(kind: AnswersKind, output: Output, problem: (path: Path, message: string) => Problem): Parsed {
  const problems: Problem[] = [];
  const given: Record<string, Answer> = {};
  for (const question of questionsOf(kind)) {
    const value = output[question.id];
    if (value === undefined || value === "") continue;
    const { by, date, ...rest } = value;
    const rows = (question.many ? ((rest.rows as Fields[] | undefined) ?? []) : [rest as Fields]).filter((row) =>
      Object.values(row).some((field) => field !== null),
    );
    if (rows.length === 0) continue;
    if (by === null) problems.push(problem([question.id, "by"], "who declares this is missing"));
    if (date === null) problems.push(problem([question.id, "date"], "the date of this declaration is missing"));
    const partial = rows.some((row) => question.fields.some((field) => !field.optional && row[field.key] === null));
    if (by !== null && date !== null) given[question.id] = { id: question.id, by, date, rows, partial };
  }
  if (problems.length > 0) return failed(problems);
  const guests = output.guests === "" || output.guests === undefined ? null : output.guests;
  return {
    ok: true,
    answers: { kind, language: output.language, guests: guests?.length === 0 ? null : guests, given },
  };
}

function failed(problems: readonly Problem[]): Parsed {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  return { ok: false, problems: sorted.slice(0, MOST_PROBLEMS) };
}

interface Found {
  readonly path: Path;
  readonly message: string;
}

/** A union's issue says only that nothing fits; what is wrong inside the alternative that was meant is in its own issues. */
function deepest(issue: v.BaseIssue<unknown>, before: Path = []): Found[] {
  const keys = (of: v.BaseIssue<unknown>): Path => (of.path ?? []).map((item) => item.key as string | number);
  const path = [...before, ...keys(issue)];
  // Issues of a union's alternatives have paths of their own, from the union on.
  const inner = (issue.issues ?? []).filter((i) => (i.path ?? []).length > 0);
  if (inner.length > 0) return inner.flatMap((i) => deepest(i, path));
  const message =
    issue.type === "strict_object" && issue.expected === "never" ? "this name is not known here" : issue.message;
  return [{ path, message }];
}

function fieldName(path: Path): string {
  return printable(
    path.map((key, i) => (typeof key === "number" ? `[${key + 1}]` : i === 0 ? key : `.${key}`)).join(""),
  );
}
