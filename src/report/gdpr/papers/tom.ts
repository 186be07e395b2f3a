import { worst } from "../../../audit/verdict.ts";
import { CROSSWALK, SCC_HEADINGS } from "../data/crosswalk.ts";
import { RISKS } from "../data/risks.ts";
import { guestsInScope, type Material, outcomesOf } from "../material.ts";
import type { Paper, Run, Sentence } from "../model.ts";
import { declared } from "../statements.ts";
import { kinded, plain, sentence } from "../text.ts";
import { STATES } from "../words.ts";
import { drawingOf } from "./drawing.ts";
import { PaperWriter } from "./writer.ts";

/** (a) Annex to the contract: the measures that exist, in the chapters of Art. 32. */
export function tomPaper(material: Material): Paper {
  const w = new PaperWriter(material);
  w.heading(1, { de: "0 Kopf", en: "0 Header" });
  w.head();
  w.heading(1, { de: "1 Geltungsbereich und Schutzbedarf", en: "1 Scope and need of protection" });
  w.list([
    [scope(material)],
    ...["Q01", "Q05", "Q06", "Q07", "Q08", "Q09", "Q10"].flatMap((id) => declared(material, id)).map((s) => [s]),
  ]);
  w.heading(1, {
    de: "2 Pseudonymisierung und Verschlüsselung (Art. 32 Abs. 1 lit. a)",
    en: "2 Pseudonymisation and encryption (Art. 32(1)(a))",
  });
  w.chapter("encryption", ["Q18", "Q24"]);
  for (const guest of material.audit.guests) {
    if (!guestsInScope(material).includes(guest.name)) continue;
    const caption = w.say({ de: "Schichten unter den Datenträgern des Gastes", en: "Layers under the disks of guest" });
    w.blocks.push({ kind: "figure", caption, drawing: drawingOf(guest, w.lang) });
  }
  w.heading(1, { de: "3 Vertraulichkeit (Art. 32 Abs. 1 lit. b)", en: "3 Confidentiality (Art. 32(1)(b))" });
  w.heading(2, { de: "3.1 Zutritt zu Räumen", en: "3.1 Physical access" });
  w.chapter(null, ["Q32"]);
  w.heading(2, { de: "3.2 Zugang zu Systemen", en: "3.2 System access" });
  w.chapter("system", ["Q33", "Q37"]);
  w.heading(2, { de: "3.3 Zugriff auf Daten", en: "3.3 Data access" });
  w.chapter("access", ["Q25"]);
  w.heading(2, { de: "3.4 Trennung", en: "3.4 Separation" });
  w.chapter("separation", ["Q22", "Q23"]);
  w.heading(1, { de: "4 Integrität (Art. 32 Abs. 1 lit. b)", en: "4 Integrity (Art. 32(1)(b))" });
  w.heading(2, { de: "4.1 Weitergabe", en: "4.1 Transfer" });
  w.chapter("transfer", ["Q13", "Q15", "Q16", "Q17", "Q19", "Q21"]);
  w.heading(2, { de: "4.2 Eingabe", en: "4.2 Input control" });
  w.paragraph(
    sentence(
      w.say({
        de: "Ob und wie Eingaben innerhalb der Gäste protokolliert werden, wird weder gemessen noch erfragt.",
        en: "Whether and how inputs inside of the guests are logged is neither measured nor asked for.",
      }),
      { mark: "open", about: w.say({ de: "Eingabekontrolle", en: "input control" }) },
    ),
  );
  w.heading(1, {
    de: "5 Verfügbarkeit, Belastbarkeit, Wiederherstellung (Art. 32 Abs. 1 lit. b, c)",
    en: "5 Availability, resilience, recovery (Art. 32(1)(b), (c))",
  });
  w.chapter("availability", ["Q39"]);
  w.heading(1, {
    de: "6 Prüfung und Bewertung (Art. 32 Abs. 1 lit. d), Auftragskontrolle",
    en: "6 Testing and evaluation (Art. 32(1)(d)), instruction control",
  });
  w.chapter("evaluation", ["Q04", "Q34", "Q35", "Q36", "Q40"]);
  w.heading(1, { de: "7 Löschung, Rückgabe, Unterstützung", en: "7 Erasure, return, assistance" });
  w.chapter("erasure", ["Q26", "Q27", "Q28", "Q29", "Q30", "Q31", "Q38"]);
  w.heading(1, { de: "8 Unterauftragsverarbeiter", en: "8 Sub-processors" });
  w.chapter(null, ["Q11", "Q12", "Q14", "Q20", "Q39"]);
  w.heading(1, {
    de: "9 Grenzen, Restrisiken, Kenntnisnahme beider Seiten",
    en: "9 Limits, residual risks, acknowledgement by both sides",
  });
  w.limits();
  w.text({
    de: "Diese Restrisiken bleiben bei jeder Messung; Entscheidungen dazu stehen im Dokument „Abweichungen und Restrisiken“:",
    en: "These residual risks stay whatever is measured; decisions on them are in the document “Deviations and residual risks”:",
  });
  w.list(RISKS.map(({ id, text }) => [sentence([{ text: `${id} `, strong: true }, plain(w.say(text))])]));
  w.chapter(null, ["Q41", "Q42"]);
  w.signatures();
  appendix(w);
  return w.finish("tom");
}

function scope(material: Material): Sentence {
  const { lang, audit } = material;
  const names = guestsInScope(material);
  const guests = names.flatMap((name, i): Run[] => [...(i > 0 ? [plain(", ")] : []), kinded("guest", name)]);
  const before = { de: "Gemessene Gäste (virtuelle Maschinen): ", en: "Measured guests (virtual machines): " }[lang];
  const known = new Set(audit.guests.map(({ name }) => name));
  const missing = names.some((name) => !known.has(name));
  if (names.length === 0 || missing) {
    const text = {
      de: "Mindestens ein Gast des Auftraggebers wurde von der Messung nicht gefunden",
      en: "At least one of the client's guests was not found by the audit",
    }[lang];
    return sentence([plain(`${text}: `), ...guests, plain(".")], { mark: "open", about: "INV-02" });
  }
  // Which guests there are is the run's own finding, also without the check of them.
  return sentence([plain(before), ...guests, plain(".")], { mark: "measured", checks: [audit.run], at: audit.started });
}

function appendix(w: PaperWriter): void {
  const { material, lang } = w;
  const list = (text: string) => [sentence(text)];
  const states = (ids: readonly string[]) =>
    list(ids.map((id) => `${id} ${checkState(material, id)}`).join(", ") || "–");
  w.heading(1, {
    de: "Anhang: Kreuztabelle der Gliederungen",
    en: "Appendix: cross-table of the layouts",
  });
  w.text({
    de: "Die acht Kontrollen der früheren Anlage zu § 9 BDSG, die Kapitel dieser Anlage (neuere Gliederung), die Nummern der Überschriften in Anhang III der Standardvertragsklauseln (Durchführungsbeschluss (EU) 2021/915), die Gewährleistungsziele des Standard-Datenschutzmodells, und die Prüfungen und Fragen dazu.",
    en: "The eight controls of the former German annex to § 9 BDSG, the chapters of this annex (newer layout), the numbers of the headings in annex III of the standard contractual clauses (Implementing Decision (EU) 2021/915), the protection goals of the Standard Data Protection Model, and the checks and questions on them.",
  });
  w.table(
    [
      { title: { de: "Klassische Kontrolle", en: "Classical control" }, width: 20 },
      { title: { de: "Kapitel", en: "Chapter" }, width: 18 },
      { title: { de: "SCC Anh. III", en: "SCC annex III" }, width: 10 },
      { title: { de: "SDM-Ziele", en: "SDM goals" }, width: 18 },
      { title: { de: "Prüfungen (Stand)", en: "Checks (state)" }, width: 22 },
      { title: { de: "Fragen", en: "Questions" }, width: 12 },
    ],
    CROSSWALK.map(({ control, layout, scc, sdm, checks, questions }) => [
      list(control[lang]),
      list(layout[lang]),
      list(scc.join(", ")),
      list(sdm[lang]),
      states(checks),
      list(questions.join(", ") || "–"),
    ]),
  );
  w.table(
    [
      { title: { de: "Nr.", en: "No." }, width: 7 },
      { title: { de: "Überschrift in Anhang III", en: "Heading in annex III" }, width: 53 },
      { title: { de: "Prüfungen und Fragen", en: "Checks and questions" }, width: 40 },
    ],
    SCC_HEADINGS.map((heading, i) => {
      const rows = CROSSWALK.filter(({ scc }) => scc.includes(i + 1));
      const ids = [...new Set(rows.flatMap(({ checks, questions }) => [...checks, ...questions]))].sort();
      return [list(String(i + 1)), list(heading[lang]), list(ids.join(", ") || "–")];
    }),
  );
  w.table(
    [
      { title: { de: "Prüfung", en: "Check" }, width: 12 },
      { title: { de: "Titel", en: "Title" }, width: 36 },
      { title: { de: "Art. 32 Abs. 1", en: "Art. 32(1)" }, width: 12 },
      { title: { de: "SDM", en: "SDM" }, width: 18 },
      { title: { de: "IT-Grundschutz, GS++", en: "IT-Grundschutz, GS++" }, width: 22 },
    ],
    material.checks.map(({ id, title, letters, sdm, itGrundschutz, grundschutzPlusPlus }) => [
      list(id),
      list(title[lang]),
      list(letters.map((letter) => `lit. ${letter}`).join(", ")),
      list(sdm.measures.join(", ")),
      list([...itGrundschutz, ...grundschutzPlusPlus].map((reference) => reference.id).join(", ")),
    ]),
  );
}

/** The worst of a check's states for this client, in words. */
function checkState(material: Material, id: string): string {
  const states = outcomesOf(material, id).map(({ state }) => state);
  return `(${STATES[worst(states)][material.lang]})`;
}
