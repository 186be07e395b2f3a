import { LAW } from "../data/law.ts";
import type { Material } from "../material.ts";
import type { Paper } from "../model.ts";
import { answerOf } from "../statements.ts";
import { clean, plain, sentence } from "../text.ts";
import { PAPER_TITLES } from "../words.ts";
import { PaperWriter } from "./writer.ts";

/** The chapters that no law asks for: what a client wants to know of the way of its mail. */
const CHAPTERS: readonly { readonly title: { de: string; en: string }; readonly questions: readonly string[] }[] = [
  { title: { de: "B.1 Empfang", en: "B.1 Reception" }, questions: ["Q11", "Q12", "Q13"] },
  { title: { de: "B.2 Versand", en: "B.2 Sending" }, questions: ["Q14", "Q15", "Q16"] },
  {
    title: {
      de: "B.3 Einhaltung von Transport-Verfahren und Transportwegen",
      en: "B.3 Keeping to transport procedures and routes",
    },
    questions: ["Q17", "Q18", "Q19"],
  },
  { title: { de: "B.4 Lagerung", en: "B.4 Storage" }, questions: ["Q22", "Q23", "Q24", "Q39"] },
  { title: { de: "B.5 Löschung", en: "B.5 Deletion" }, questions: ["Q27", "Q28", "Q29", "Q30", "Q31"] },
  { title: { de: "B.6 Umgang mit Anhängen", en: "B.6 Handling of attachments" }, questions: ["Q25", "Q26"] },
  { title: { de: "B.7 Spam und Schadsoftware", en: "B.7 Spam and malware" }, questions: ["Q20", "Q21"] },
];

/** Where data may leave the EU: who names a country names where it goes. */
const ABROAD = ["Q11", "Q14", "Q20", "Q39"] as const;

/** (b) Art. 30(2) for a processor, Art. 30(1) for what is processed as a controller. */
export function recordPaper(material: Material): Paper {
  const w = new PaperWriter(material);
  const role = answerOf(material, "Q01")?.rows[0]?.role ?? null;
  w.heading(1, { de: "0 Kopf", en: "0 Header" });
  w.head();
  if (role !== "controller") processor(w);
  if (role === "controller" || role === "both") controller(w);
  w.heading(1, { de: "B Ergänzung: der Weg der E-Mails", en: "B Addition: the way of the e-mails" });
  w.note(
    { de: "Nicht gesetzlich verlangt", en: "Not required by law" },
    {
      de: "Die Abschnitte B.1 bis B.7 gehen über Art. 30 DSGVO hinaus. Sie sind freiwillig und beschreiben, was der Auftraggeber zur Beurteilung braucht.",
      en: "Sections B.1 to B.7 go beyond Art. 30 GDPR. They are voluntary and describe what the client needs for its judgment.",
    },
  );
  for (const { title, questions } of CHAPTERS) {
    w.heading(2, title);
    w.chapter(null, questions);
  }
  w.heading(1, { de: "C Anwendbarkeit (Art. 30 Abs. 5 DSGVO)", en: "C Applicability (Art. 30(5) GDPR)" });
  w.text(LAW.art30);
  w.text({ de: `Rechtsstand dieses Hinweises: ${LAW.date}.`, en: `State of the law in this note: ${LAW.date}.` });
  w.limits();
  return w.finish("record");
}

function processor(w: PaperWriter): void {
  w.heading(1, {
    de: "A Pflichtangaben des Auftragsverarbeiters (Art. 30 Abs. 2 DSGVO)",
    en: "A Required of the processor (Art. 30(2) GDPR)",
  });
  w.heading(2, { de: "A.1 Auftragsverarbeiter (lit. a)", en: "A.1 Processor (a)" });
  w.chapter(null, ["Q03"]);
  w.heading(2, { de: "A.2 Verantwortlicher (lit. a)", en: "A.2 Controller (a)" });
  w.chapter(null, ["Q02", "Q01", "Q04", "Q05"]);
  w.heading(2, { de: "A.3 Kategorien von Verarbeitungen (lit. b)", en: "A.3 Categories of processing (b)" });
  w.text({
    de: "Empfang, Speicherung, Bearbeitung, Versand und Löschung von E-Mails im Auftrag des Verantwortlichen.",
    en: "Reception, storage, handling, sending and deletion of e-mails on behalf of the controller.",
  });
  w.chapter(null, ["Q10"]);
  w.heading(2, {
    de: "A.4 Übermittlung in Drittländer, Garantien (lit. c)",
    en: "A.4 Third countries, safeguards (c)",
  });
  abroad(w);
  w.heading(2, {
    de: "A.5 Technische und organisatorische Maßnahmen (lit. d)",
    en: "A.5 Technical and organisational measures (d)",
  });
  measures(w);
}

function controller(w: PaperWriter): void {
  w.heading(1, {
    de: "A′ Pflichtangaben als Verantwortlicher (Art. 30 Abs. 1 DSGVO)",
    en: "A′ Required of a controller (Art. 30(1) GDPR)",
  });
  w.heading(2, { de: "Verantwortlicher (lit. a)", en: "Controller (a)" });
  w.chapter(null, ["Q03"]);
  w.heading(2, { de: "Zwecke (lit. b)", en: "Purposes (b)" });
  w.chapter(null, ["Q01"]);
  w.heading(2, { de: "Betroffene Personen und Daten (lit. c)", en: "Data subjects and data (c)" });
  w.chapter(null, ["Q06", "Q07", "Q08"]);
  w.heading(2, { de: "Empfänger (lit. d), Drittländer (lit. e)", en: "Recipients (d), third countries (e)" });
  w.chapter(null, ["Q11", "Q14", "Q20", "Q39"]);
  abroad(w);
  w.heading(2, { de: "Löschfristen (lit. f)", en: "Periods of deletion (f)" });
  w.chapter(null, ["Q27", "Q28", "Q29"]);
  w.heading(2, {
    de: "Technische und organisatorische Maßnahmen (lit. g)",
    en: "Technical and organisational measures (g)",
  });
  measures(w);
}

/** Countries are listed as they were declared; which of them is a third country, and what allows it, is for the parties to say. */
function abroad(w: PaperWriter): void {
  const items = ABROAD.flatMap((id) => {
    const answer = answerOf(w.material, id);
    return (answer?.rows ?? []).flatMap((row) => {
      const who = row.name ?? row.relay ?? row.service ?? row.operator ?? null;
      if (!answer || row.country === null || row.country === undefined) return [];
      const origin = { mark: "declared", question: id, by: answer.by, date: answer.date } as const;
      return [[sentence(clean(`${who ?? id}: ${row.country}`), origin)]];
    });
  });
  if (items.length > 0) {
    w.text({
      de: "Länder der eingesetzten Dienste. Liegt eines außerhalb des Europäischen Wirtschaftsraums, sind die Garantien nach Art. 44–49 DSGVO zu ergänzen:",
      en: "Countries of the services used. Where one is outside of the European Economic Area, the safeguards under Art. 44–49 GDPR have to be added:",
    });
    w.list(items);
    return;
  }
  const text = {
    de: "Länder der eingesetzten Dienste: nicht erklärt.",
    en: "Countries of the services used: not declared.",
  };
  w.paragraph(sentence(w.say(text), { mark: "open", about: ABROAD.join(", ") }));
}

function measures(w: PaperWriter): void {
  const title = w.say(PAPER_TITLES.tom);
  w.paragraph(
    sentence([
      plain(w.say({ de: `Siehe „${title}“, Prüflauf `, en: `See “${title}”, audit run ` })),
      { text: w.material.audit.run, mono: true },
      plain("."),
    ]),
  );
}
