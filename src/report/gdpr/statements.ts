import { DECLARATION_MONTHS, standingOf } from "../../answers/age.ts";
import type { Answer, Field, Fields } from "../../answers/model.ts";
import { question } from "../../answers/questions/index.ts";
import type { Lang } from "../../audit/model.ts";
import type { Measure } from "./data/measures.ts";
import { standingsOf } from "./judge.ts";
import { infoOf, type Material, outcomesOf } from "./material.ts";
import type { Run, Sentence } from "./model.ts";
import { clean, kinded, plain, sentence } from "./text.ts";
import { word } from "./words.ts";

/** What was answered; undefined: it is open. */
export function answerOf(material: Material, id: string): Answer | undefined {
  const answers = question(id).kind === "office" ? material.office : material.client;
  return answers?.given[id];
}

/** What one blank says, in the paper's language; null: it was left empty. */
export function fieldText(field: Field, row: Fields, lang: Lang): string | null {
  const value = row[field.key];
  if (value === null || value === undefined) return null;
  if (field.type === "yes-no") return word(value === "yes" ? "yes" : "no", lang);
  const choice = field.choices?.find((c) => c.value === value);
  return choice ? choice.label[lang] : clean(value);
}

function rowText(fields: readonly Field[], row: Fields, lang: Lang): string {
  const said = fields.flatMap((field) => {
    const text = fieldText(field, row, lang);
    return text === null ? [] : [{ label: field.label[lang], text }];
  });
  return fields.length === 1 ? (said[0]?.text ?? "") : said.map(({ label, text }) => `${label}: ${text}`).join("; ");
}

/**
 * A question's answer as sentences, one for each of its rows: [E]/[D], or [O] when it is open. One that is too old, or not whole, says so in a sentence
 * of its own.
 */
export function declared(material: Material, id: string): readonly Sentence[] {
  const { lang, audit } = material;
  const { title, fields } = question(id);
  const name: Run = { text: `${title[lang]}: `, strong: true };
  const answer = answerOf(material, id);
  if (!answer) return [sentence([name, plain(`${word("notDeclared", lang)}.`)], { mark: "open", about: id })];
  const origin = { mark: "declared", question: id, by: answer.by, date: answer.date } as const;
  const standing = standingOf(answer, audit.ended, DECLARATION_MONTHS);
  const limited: Run[] = standing === "aged" ? [plain(`${word("limited", lang)}: `)] : [];
  const said = answer.rows.map((row) => sentence([name, ...limited, plain(ended(rowText(fields, row, lang)))], origin));
  if (standing === "current") return said;
  const why = word(standing === "aged" ? "tooOld" : "incomplete", lang);
  return [...said, sentence([name, plain(`${why}.`)], { mark: "open", about: id })];
}

function ended(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** The number that a deviation has in all papers and in OSCAL: `ENC-01/mail`, `INV-01` of the host. */
export function deviationId(check: string, guest: string | null): string {
  return guest === null ? check : `${check}/${guest}`;
}

/**
 * What the TOM annex may say of a measure: an existing measure only where all of its checks pass; „eingeschränkt“ with a pointer where one is limited; nothing
 * where one failed, or is not known.
 */
export function measured(material: Material, measure: Measure): readonly Sentence[] {
  const { lang } = material;
  const standings = standingsOf(material, measure);
  const out: Sentence[] = [];
  const passed = standings.filter(({ state }) => state === "pass");
  const times = passed.flatMap(({ at }) => at ?? []).sort();
  if (passed.length > 0 && times[0] !== undefined) {
    const names = passed.flatMap(({ guest }) => guest ?? []);
    const runs = [...subject(names, lang), plain(measure.text[lang])];
    out.push(sentence(runs, { mark: "measured", checks: measure.checks, at: times[0] }));
  }
  for (const { guest, state, check, at } of standings) {
    if (state !== "warn" || at === null) continue;
    const title = infoOf(material, measure.checks[0])?.title[lang] ?? measure.checks[0];
    const runs = [
      ...subject(guest === null ? [] : [guest], lang),
      plain(`${word("limited", lang)}: ${title}; ${word("seeDeviation", lang)} `),
      ...deviationRuns(check, hostCheck(material, check) ? null : guest),
      plain("."),
    ];
    out.push(sentence(runs, { mark: "measured", checks: measure.checks, at }));
  }
  return out;
}

/** Its outcome is the host's, also where the measure is a guest's. */
function hostCheck(material: Material, check: string): boolean {
  return outcomesOf(material, check).every(({ guest }) => guest === null);
}

export function deviationRuns(check: string, guest: string | null): readonly Run[] {
  return guest === null ? [plain(check)] : [plain(`${check}/`), kinded("guest", guest)];
}

/** `Gäste mail, web: `; nothing for the host. */
function subject(guests: readonly string[], lang: Lang): readonly Run[] {
  if (guests.length === 0) return [];
  const names = guests.flatMap((guest, i) => [...(i > 0 ? [plain(", ")] : []), kinded("guest", guest)]);
  return [plain(`${word(guests.length > 1 ? "guests" : "guest", lang)} `), ...names, plain(": ")];
}
