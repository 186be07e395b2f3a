import { addMonths } from "../../../answers/age.ts";
import { question } from "../../../answers/questions/index.ts";
import type { Lang, Text } from "../../../audit/model.ts";
import { LAW } from "../data/law.ts";
import { LIMITS } from "../data/limits.ts";
import { MEASURES, type Section } from "../data/measures.ts";
import type { Material } from "../material.ts";
import type { Block, Cell, Paper, PaperId, Run, Sentence } from "../model.ts";
import { answerOf, declared, fieldText, measured } from "../statements.ts";
import { clean, kinded, moment, mono, plain, sentence } from "../text.ts";
import { AUDIENCES, LEGEND, PAPER_TITLES, word } from "../words.ts";

/** Puts the blocks of one paper together. */
export class PaperWriter {
  readonly material: Material;
  readonly lang: Lang;
  readonly blocks: Block[] = [];

  constructor(material: Material) {
    this.material = material;
    this.lang = material.lang;
  }

  say(text: Text): string {
    return text[this.lang];
  }

  heading(level: 1 | 2, text: Text | readonly Run[]): void {
    const runs = Array.isArray(text) ? (text as readonly Run[]) : [plain(this.say(text as Text))];
    this.blocks.push({ kind: "heading", level, runs });
  }

  paragraph(...sentences: readonly Sentence[]): void {
    this.blocks.push({ kind: "paragraph", sentences });
  }

  text(text: Text): void {
    this.paragraph(sentence(this.say(text)));
  }

  note(title: Text, text: Text): void {
    this.blocks.push({ kind: "note", title: this.say(title), sentences: [sentence(this.say(text))] });
  }

  list(items: readonly Cell[]): void {
    if (items.length > 0) this.blocks.push({ kind: "list", items });
  }

  table(
    columns: readonly { readonly title: Text; readonly width: number }[],
    rows: readonly (readonly Cell[])[],
  ): void {
    const titles = columns.map(({ title, width }) => ({ title: this.say(title), width }));
    if (rows.length > 0) this.blocks.push({ kind: "table", columns: titles, rows });
  }

  /** What was measured of a chapter, and what was declared. */
  chapter(section: Section | null, questions: readonly string[]): void {
    const found = section === null ? [] : MEASURES.filter((m) => m.section === section);
    const sentences = found.flatMap((measure) => measured(this.material, measure));
    if (section !== null && sentences.length === 0) {
      const about = found.map(({ checks }) => checks[0]).join(", ");
      this.paragraph(sentence(word("nothingMeasured", this.lang), { mark: "open", about }));
    }
    this.list([...sentences, ...questions.flatMap((id) => declared(this.material, id))].map((s) => [s]));
  }

  /** The run, the parties, and how long the paper holds. */
  head(): void {
    const { audit, manifestSha256, audience } = this.material;
    const row = (label: Text, cell: Cell): Cell[] => [[sentence([{ text: this.say(label), strong: true }])], cell];
    const said = (...runs: readonly Run[]): Cell => [sentence(runs)];
    this.table(
      [
        { title: { de: "Angabe", en: "Item" }, width: 28 },
        { title: { de: "Inhalt", en: "Content" }, width: 72 },
      ],
      [
        row({ de: "Auftragsverarbeiter", en: "Processor" }, this.answer("Q03")),
        row({ de: "Verantwortlicher (Auftraggeber)", en: "Controller (client)" }, this.answer("Q02")),
        row({ de: "Vertrag (Art. 28)", en: "Contract (Art. 28)" }, this.answer("Q04")),
        row({ de: "Stichtag", en: "As of" }, said(plain(moment(audit.ended)))),
        row({ de: "Gültig bis", en: "Valid until" }, said(plain(addMonths(audit.ended, LAW.validMonths)))),
        row({ de: "Prüflauf", en: "Audit run" }, said(mono(audit.run))),
        row({ de: "SHA-256 des Manifests", en: "Manifest's SHA-256" }, said(mono(manifestSha256))),
        row(
          { de: "Software, Richtlinie", en: "Software, policy" },
          said(plain(`${audit.program.name} ${audit.program.version}, ${audit.policy.date}`)),
        ),
        row({ de: "Gemessener Host", en: "Measured host" }, said(kinded("address", audit.host.name ?? "–"))),
        row({ de: "Fassung für", en: "Edition for" }, said(plain(this.say(AUDIENCES[audience])))),
      ],
    );
    this.note({ de: "Zeichen", en: "Marks" }, LEGEND);
  }

  /** An answer without its title, for a table that has one. */
  answer(id: string): Cell {
    const { fields } = question(id);
    const answer = answerOf(this.material, id);
    if (!answer) return [sentence(`${word("notDeclared", this.lang)}`, { mark: "open", about: id })];
    const origin = { mark: "declared", question: id, by: answer.by, date: answer.date } as const;
    return answer.rows.map((row) => {
      const said = fields.flatMap((field) => {
        const text = fieldText(field, row, this.lang);
        return text === null ? [] : [`${field.label[this.lang]}: ${text}`];
      });
      return sentence(said.join("; "), origin);
    });
  }

  limits(): void {
    this.note({ de: "Was dieses Dokument nicht ist", en: "What this document is not" }, LIMITS);
  }

  signatures(): void {
    const names = (id: string): string | null => {
      const name = answerOf(this.material, id)?.rows[0]?.contact;
      return name ? clean(shortName(name)) : null;
    };
    this.blocks.push({
      kind: "signature",
      places: [
        {
          role: this.say({ de: "Für den Verantwortlichen (Auftraggeber)", en: "For the controller (client)" }),
          name: names("Q02"),
        },
        { role: this.say({ de: "Für den Auftragsverarbeiter", en: "For the processor" }), name: names("Q03") },
      ],
    });
  }

  finish(id: PaperId): Paper {
    const { audit, audience, clientName } = this.material;
    const client = clean(shortName(answerOf(this.material, "Q02")?.rows[0]?.name ?? clientName));
    return {
      id,
      lang: this.lang,
      audience,
      title: this.say(PAPER_TITLES[id]),
      subtitle: `${client} · ${moment(audit.ended)}`,
      date: audit.ended,
      run: audit.run,
      blocks: this.blocks,
    };
  }
}

/** A name without the address or telephone number that follows it. */
function shortName(name: string): string {
  return name.split(",")[0]!.trim() || name;
}
