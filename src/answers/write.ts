import type { Lang } from "../audit/model.ts";
import type { Answer, AnswersKind, Field, Fields, Question } from "./model.ts";
import { questionsOf, TOPICS } from "./questions/index.ts";
import { SCHEMA } from "./schema.ts";

/** What is known so far; a draft may lack who or when. */
export interface Draft {
  readonly guests: readonly string[] | null;
  readonly given: Readonly<Record<string, Answer>>;
}

const HEAD: Readonly<Record<AnswersKind, Readonly<Record<Lang, string>>>> = {
  office: {
    de: "Angaben des Büros, die für alle Auftraggeber gelten. Kein Programm kann sie messen: Sie erklären sie.",
    en: "What the office declares, for all clients. No program can measure it: it is you who declares it.",
  },
  client: {
    de: "Angaben zu einem Auftraggeber. Kein Programm kann sie messen: Sie erklären sie.",
    en: "What is declared of one client. No program can measure it: it is you who declares it.",
  },
};

const RULES: Readonly<Record<Lang, readonly string[]>> = {
  de: [
    "Zu jeder Antwort gehören by (wer sie gibt) und date (JJJJ-MM-TT): Angaben altern.",
    "Leer gelassenes steht in den Papieren als offen. Prüfen mit: unterbau report check DATEI",
  ],
  en: [
    "Each answer has by (who gives it) and date (YYYY-MM-DD): declarations age.",
    "What is left empty appears as open in the papers. Check with: unterbau report check FILE",
  ],
};

const GUESTS: Readonly<Record<Lang, string>> = {
  de: "Gäste (virtuelle Maschinen), in denen Daten dieses Auftraggebers liegen; leer: alle des Hosts.",
  en: "Guests (virtual machines) that hold this client's data; empty: all of the host.",
};

const WORDS: Readonly<Record<Lang, { example: string; optional: string; date: string; yesNo: string; rows: string }>> =
  {
    de: {
      example: "etwa",
      optional: "darf fehlen",
      date: "JJJJ-MM-TT",
      yesNo: "yes oder no",
      rows: "mehrere: je eine Gruppe mit Strich",
    },
    en: {
      example: "such as",
      optional: "may be left out",
      date: "YYYY-MM-DD",
      yesNo: "yes or no",
      rows: "several: one group with a dash for each",
    },
  };

/** A file of answers as YAML, with a comment for each question in `lang`; `parseAnswers` reads it. Ends with a line feed. */
export function writeAnswers(kind: AnswersKind, lang: Lang, draft: Draft): string {
  const out = [HEAD[kind][lang], ...RULES[lang]].map((line) => `# ${line}`);
  out.push(`schema: ${SCHEMA}`, `file: ${kind}`, `language: ${lang}`, "");
  if (kind === "client") {
    out.push(
      `# ${GUESTS[lang]}`,
      `guests:${draft.guests === null ? "" : ` [${draft.guests.map(quoted).join(", ")}]`}`,
      "",
    );
  }
  let topic: string | null = null;
  for (const question of questionsOf(kind)) {
    if (question.topic !== topic) out.push(`# ---- ${TOPICS[question.topic][lang]} ----`, "");
    topic = question.topic;
    out.push(...questionLines(question, lang, draft.given[question.id] ?? null), "");
  }
  return `${out.join("\n").trimEnd()}\n`;
}

function questionLines(question: Question, lang: Lang, answer: Answer | null): string[] {
  const out = [`# ${question.id}: ${question.ask[lang]}`, `${question.id}:`];
  out.push(`  by:${value(answer?.by ?? null)}`, `  date:${value(answer?.date ?? null)}`);
  const rows = answer === null || answer.rows.length === 0 ? [{}] : answer.rows;
  if (!question.many) return [...out, ...question.fields.flatMap((f) => fieldLines(f, lang, rows[0]!, "  ", true))];
  out.push(`  # ${WORDS[lang].rows}`, "  rows:");
  for (const [n, row] of rows.entries()) {
    const lines = question.fields.flatMap((field) => fieldLines(field, lang, row, "      ", n === 0));
    // The dash stands before the first field, not before its comment.
    const first = lines.findIndex((line) => !line.trimStart().startsWith("#"));
    out.push(...lines.map((line, i) => (i === first ? `    - ${line.trimStart()}` : line)));
  }
  return out;
}

function fieldLines(field: Field, lang: Lang, row: Fields, indent: string, comment: boolean): string[] {
  const line = `${indent}${field.key}:${value(row[field.key] ?? null)}`;
  return comment ? [`${indent}# ${describe(field, lang)}`, line] : [line];
}

function describe(field: Field, lang: Lang): string {
  const words = WORDS[lang];
  const parts = [field.label[lang]];
  if (field.type === "date") parts.push(words.date);
  if (field.type === "yes-no") parts.push(words.yesNo);
  if (field.choices) parts.push(field.choices.map(({ value, label }) => `${value} (${label[lang]})`).join(", "));
  if (field.example) parts.push(`${words.example}: ${field.example[lang]}`);
  if (field.optional) parts.push(words.optional);
  return parts.join(" · ");
}

function value(text: string | null): string {
  return text === null ? "" : ` ${quoted(text)}`;
}

/** Plain where that cannot be misunderstood, else in double quotes: JSON's are YAML's, but for marks that YAML takes for line breaks. */
function quoted(text: string): string {
  if (/^[\p{L}\p{N}][\p{L}\p{N} .@/+-]*$/u.test(text) && !text.endsWith(" ") && text !== "null") return text;
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
