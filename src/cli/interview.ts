import * as p from "@clack/prompts";
import { DECLARATION_MONTHS, standingOf } from "../answers/age.ts";
import type { Answer, AnswersKind, Field, Fields, Question } from "../answers/model.ts";
import { questionsOf, TOPICS } from "../answers/questions/index.ts";
import { isDay } from "../answers/schema.ts";
import type { Draft } from "../answers/write.ts";
import type { Lang } from "../audit/model.ts";
import { printable } from "../report/units.ts";

const WORDS = {
  de: {
    office: "Angaben des Büros, die für alle Auftraggeber gelten",
    client: "Angaben zu einem Auftraggeber",
    how: "Pfeiltasten wählen, Enter bestätigt. Leer gelassenes steht in den Papieren als offen. Strg-C unterbricht; derselbe Befehl macht später weiter.",
    who: "Wer gibt diese Auskünfte?",
    guests: "Welche Gäste (virtuelle Maschinen) halten Daten dieses Auftraggebers? Mit Komma; leer: alle",
    keep: "Stimmt das noch?",
    same: "ja, unverändert: Datum wird heute",
    leave: "so lassen, mit dem alten Datum",
    change: "ändern",
    clear: "löschen",
    skip: "leer lassen: bleibt offen",
    more: "Noch einen Eintrag?",
    day: "Ein Datum: JJJJ-MM-TT",
    none: "(offen lassen)",
    needed: "Ein Name wird gebraucht",
    yes: "ja",
    no: "nein",
    optional: "freiwillig",
    such: "etwa:",
    open: "Offen geblieben:",
    done: "Fertig.",
  },
  en: {
    office: "What holds for all clients of the office",
    client: "What holds for one client",
    how: "Arrows choose, Enter confirms. What is left empty appears as open in the papers. Ctrl-C interrupts; the same command goes on later.",
    who: "Who gives these answers?",
    guests: "Which guests (virtual machines) hold this client's data? With commas; empty: all",
    keep: "Does this still hold?",
    same: "yes, unchanged: its date becomes today",
    leave: "leave it, with its old date",
    change: "change",
    clear: "remove",
    skip: "leave empty: it stays open",
    more: "One more entry?",
    day: "A date: YYYY-MM-DD",
    none: "(leave open)",
    needed: "A name is needed",
    yes: "yes",
    no: "no",
    optional: "optional",
    such: "such as:",
    open: "Left open:",
    done: "Done.",
  },
} as const satisfies Record<Lang, Record<string, string>>;

/** Columns that a prompt's own line takes, and the most that read well. */
const MARGIN = 4;
const WIDEST = 110;

/** Broken at blanks, as wide as the terminal. */
function wrapped(text: string): string {
  const width = Math.min((process.stdout.columns || 80) - MARGIN, WIDEST);
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join("\n");
}

class Cancelled extends Error {}

/** What was typed; throws `Cancelled` on Ctrl-C. */
async function asked<T>(prompt: Promise<T>): Promise<Exclude<T, symbol>> {
  const value = await prompt;
  if (p.isCancel(value)) throw new Cancelled();
  return value as Exclude<T, symbol>;
}

/** Asks question by question; `keep` gets what is known after each. `guests`: names that may be meant. Null: cancelled. */
export async function interview(
  kind: AnswersKind,
  lang: Lang,
  known: Draft,
  guests: readonly string[],
  keep: (draft: Draft) => void,
): Promise<Draft | null> {
  const words = WORDS[lang];
  const today = new Date().toISOString();
  let draft = known;
  try {
    p.intro(words[kind]);
    p.log.info(wrapped(words.how));
    const before = Object.values(known.given)[0]?.by ?? "";
    const by = (
      await asked(
        p.text({ message: words.who, initialValue: before, validate: (v) => (v?.trim() ? undefined : words.needed) }),
      )
    ).trim();
    if (kind === "client") {
      const names = await asked(
        p.text({
          message: wrapped(words.guests),
          ...(guests.length === 0 ? {} : { placeholder: `${words.such} ${guests.map(printable).join(", ")}` }),
          initialValue: (known.guests ?? []).join(", "),
        }),
      );
      const list = (names ?? "")
        .split(",")
        .map((name) => name.trim())
        .filter((name) => name !== "");
      draft = { ...draft, guests: list.length === 0 ? null : list };
      keep(draft);
    }
    let topic = "";
    const questions = questionsOf(kind);
    for (const [i, question] of questions.entries()) {
      if (question.topic !== topic) p.log.step(TOPICS[question.topic][lang]);
      topic = question.topic;
      const answer = await answerTo(question, `${i + 1}/${questions.length}`, lang, draft.given[question.id], {
        by,
        today,
      });
      const { [question.id]: _, ...others } = draft.given;
      draft = { ...draft, given: answer ? { ...others, [question.id]: answer } : others };
      keep(draft);
    }
  } catch (error) {
    if (error instanceof Cancelled) return null;
    throw error;
  }
  const open = questionsOf(kind).flatMap(({ id }) =>
    draft.given[id] === undefined || draft.given[id].partial ? id : [],
  );
  if (open.length > 0) p.log.warn(wrapped(`${words.open} ${open.join(", ")}`));
  p.outro(words.done);
  return draft;
}

async function answerTo(
  question: Question,
  place: string,
  lang: Lang,
  old: Answer | undefined,
  { by, today }: { by: string; today: string },
): Promise<Answer | null> {
  const words = WORDS[lang];
  p.log.message(wrapped(`${question.id} (${place})  ${question.ask[lang]}`));
  if (old) {
    const said = old.rows.map((row) => wrapped(summary(question, row, lang)));
    p.log.info([...said, `${printable(old.by)}, ${old.date}`].join("\n"));
    const aged = standingOf(old, today, DECLARATION_MONTHS) === "aged";
    const choice = await asked(
      p.select({
        message: words.keep,
        showInstructions: false,
        initialValue: aged ? "same" : "leave",
        options: (["same", "leave", "change", "clear"] as const).map((value) => ({ value, label: words[value] })),
      }),
    );
    if (choice === "leave") return old;
    if (choice === "clear") return null;
    if (choice === "same") return { ...old, by, date: today.slice(0, 10) };
  }
  const rows: Fields[] = [];
  do {
    const row: Record<string, string | null> = {};
    for (const field of question.fields) {
      const asks = field.after === undefined || row[field.after] === "yes";
      row[field.key] = asks ? await fieldOf(field, lang, old?.rows[rows.length]?.[field.key]) : null;
    }
    if (Object.values(row).every((value) => value === null)) break;
    rows.push(row);
  } while (question.many && (await more(lang, rows.length < (old?.rows.length ?? 0))));
  if (rows.length === 0) return null;
  const partial = rows.some((row) => question.fields.some((field) => !field.optional && row[field.key] === null));
  return { id: question.id, by, date: today.slice(0, 10), rows, partial };
}

/** Whether there is one more; `known`: there was before. */
function more(lang: Lang, known: boolean): Promise<boolean> {
  const { more: message, yes, no } = WORDS[lang];
  return asked(p.confirm({ message, active: yes, inactive: no, initialValue: known }));
}

async function fieldOf(field: Field, lang: Lang, old: string | null | undefined): Promise<string | null> {
  const words = WORDS[lang];
  const message = field.optional ? `${field.label[lang]} (${words.optional})` : field.label[lang];
  if (field.type === "text" || field.type === "date") {
    const wrong = (v: string | undefined) =>
      field.type === "date" && v?.trim() && !isDay(v.trim()) ? words.day : undefined;
    const example = field.example && `${words.such} ${field.example[lang]}`;
    const placeholder = example ?? (field.type === "date" ? words.day : words.skip);
    const typed = await asked(p.text({ message, placeholder, initialValue: old ?? "", validate: wrong }));
    return (typed ?? "").trim() || null;
  }
  const choices =
    field.type === "yes-no"
      ? [
          { value: "yes", label: words.yes },
          { value: "no", label: words.no },
        ]
      : (field.choices ?? []).map(({ value, label }) => ({ value, label: label[lang] }));
  const options = [...choices, { value: "", label: words.none }];
  // Who only presses Enter has declared nothing.
  return (await asked(p.select({ message, options, initialValue: old ?? "", showInstructions: false }))) || null;
}

function summary(question: Question, row: Fields, lang: Lang): string {
  return question.fields
    .filter(({ key }) => row[key])
    .map(({ key, label }) => `${label[lang]}: ${printable(row[key]!)}`)
    .join("; ");
}
