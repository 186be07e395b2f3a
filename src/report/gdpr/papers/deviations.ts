import { DECLARATION_MONTHS, standingOf } from "../../../answers/age.ts";
import { QUESTIONS } from "../../../answers/questions/index.ts";
import { DELETION } from "../data/deletion.ts";
import { effectOf } from "../data/effects.ts";
import { RISKS } from "../data/risks.ts";
import { type Deviation, decisionOn, deviationsOf } from "../deviations.ts";
import type { Material } from "../material.ts";
import type { Cell, Paper, Run } from "../model.ts";
import { answerOf, deviationRuns } from "../statements.ts";
import { clean, plain, prose, remarkRuns, sentence } from "../text.ts";
import { STATES, word } from "../words.ts";
import { PaperWriter } from "./writer.ts";

const DECISIONS = {
  open: { de: "offen", en: "open" },
  accepted: { de: "befristet hingenommen", en: "accepted until the deadline" },
  remediating: { de: "wird behoben", en: "being remedied" },
  closed: { de: "erledigt", en: "closed" },
  demanded: { de: "Maßnahme verlangt", en: "measure demanded" },
} as const;

const DOUBTS = {
  expired: { de: "Frist abgelaufen", en: "deadline passed" },
  "no-deadline": { de: "ohne Frist", en: "without a deadline" },
  "still-there": { de: "besteht aber weiterhin", en: "but still there" },
} as const;

/** (d) What is not as it should be, and what stays in any case. */
export function deviationsPaper(material: Material): Paper {
  const w = new PaperWriter(material);
  const all = deviationsOf(material);
  const of = (state: Deviation["state"]): readonly Deviation[] => all.filter((d) => d.state === state);
  w.heading(1, { de: "0 Kopf", en: "0 Header" });
  w.head();
  cards(w, { de: "1 Abweichungen (nicht bestanden)", en: "1 Deviations (failed)" }, of("fail"));
  cards(w, { de: "2 Eingeschränkt", en: "2 Limited" }, of("warn"));
  unknowns(w, of("unknown"));
  openAnswers(w);
  risks(w);
  deletion(w);
  w.heading(1, { de: "7 Kenntnisnahme beider Seiten", en: "7 Acknowledgement by both sides" });
  w.chapter(null, ["Q41"]);
  w.limits();
  w.signatures();
  return w.finish("deviations");
}

function none(w: PaperWriter): void {
  w.text({ de: "Keine.", en: "None." });
}

function cards(w: PaperWriter, title: { de: string; en: string }, list: readonly Deviation[]): void {
  const { material, lang } = w;
  w.heading(1, title);
  if (list.length === 0) {
    none(w);
    return;
  }
  for (const deviation of list) {
    const { check, guest, info, at } = deviation;
    w.heading(2, [...deviationRuns(check, guest), plain(info ? ` – ${info.title[lang]}` : "")]);
    const origin = { mark: "measured", checks: [check], at } as const;
    const bad = deviation.remarks.filter(({ state }) => state === deviation.state);
    const finding = (bad.length > 0 ? bad : deviation.remarks).map((r) => sentence(remarkRuns(info, r, lang), origin));
    const row = (label: { de: string; en: string }, cell: Cell): Cell[] => [
      [sentence([{ text: label[lang], strong: true }])],
      cell,
    ];
    w.table(
      [
        { title: { de: "Angabe", en: "Item" }, width: 26 },
        { title: { de: "Inhalt", en: "Content" }, width: 74 },
      ],
      [
        row({ de: "Befund", en: "Finding" }, finding),
        row({ de: "Wirkung auf Betroffene", en: "Effect on data subjects" }, [sentence(effectOf(check)[lang])]),
        row({ de: "Warum es zählt", en: "Why it matters" }, info ? [sentence(prose(info.explanation[lang]))] : []),
        row({ de: "Abhilfe", en: "Remedy" }, info ? [sentence(prose(info.remedy[lang]))] : []),
        ...decisionRows(material, check, guest).map(([label, cell]) => row(label, cell)),
      ],
    );
  }
}

type Labelled = readonly [{ de: string; en: string }, Cell];

/** What both sides decided: [E]/[D] where it was declared, else [O] with room to write. */
function decisionRows(material: Material, subject: string, guest: string | null): readonly Labelled[] {
  const { lang } = material;
  const { decision, row, origin, doubt } = decisionOn(material, subject, guest);
  const open = { mark: "open", about: "Q42" } as const;
  const cell = (value: string | null | undefined): Cell =>
    value ? [sentence(clean(value), origin)] : [sentence("…………………………", open)];
  return [
    [{ de: "Vereinbarte Maßnahme", en: "Agreed measure" }, cell(row?.measure)],
    [{ de: "Zuständig", en: "Owner" }, cell(row?.owner)],
    [{ de: "Frist", en: "Deadline" }, cell(row?.deadline)],
    [
      { de: "Stand", en: "State" },
      [
        sentence(
          `${DECISIONS[decision][lang]}${doubt ? ` (${DOUBTS[doubt][lang]})` : ""}`,
          decision === "open" ? open : origin,
        ),
      ],
    ],
    [{ de: "Auftraggeber informiert am", en: "Client notified on" }, cell(row?.notified)],
  ];
}

function unknowns(w: PaperWriter, list: readonly Deviation[]): void {
  const { lang } = w;
  w.heading(1, { de: "3 Nicht gemessen", en: "3 Not measured" });
  w.text({
    de: "Was hier steht, ist weder bestätigt noch widerlegt.",
    en: "What is listed here is neither confirmed nor disproved.",
  });
  if (list.length === 0) {
    none(w);
    return;
  }
  w.table(
    [
      { title: { de: "Prüfung", en: "Check" }, width: 16 },
      { title: { de: "Titel", en: "Title" }, width: 24 },
      { title: { de: "Warum nicht", en: "Why not" }, width: 36 },
      { title: { de: "Abhilfe", en: "Remedy" }, width: 24 },
    ],
    list.map(({ check, guest, info, remarks, at }) => {
      const why = remarks.filter(({ state }) => state === "unknown");
      const origin = { mark: "open", about: check } as const;
      const notRun = {
        de: "Die Prüfung ist in diesem Lauf nicht enthalten.",
        en: "The check is not part of this run.",
      };
      return [
        [sentence(deviationRuns(check, guest))],
        [sentence(info?.title[lang] ?? check)],
        at === "" || why.length === 0
          ? [sentence(notRun[lang], origin)]
          : why.map((remark) => sentence(remarkRuns(info, remark, lang), origin)),
        [sentence(prose(info?.remedy[lang] ?? "–"))],
      ];
    }),
  );
}

function openAnswers(w: PaperWriter): void {
  const { material, lang } = w;
  w.heading(1, { de: "4 Offene und veraltete Angaben", en: "4 Open and aged declarations" });
  const found = QUESTIONS.flatMap((question) => {
    const answer = answerOf(material, question.id);
    const standing = standingOf(answer, material.audit.ended, DECLARATION_MONTHS);
    if (standing === "current") return [];
    const why = { open: "notDeclared", aged: "tooOld", partial: "incomplete" } as const;
    return [[sentence(`${question.title[lang]}: ${word(why[standing], lang)}.`, { mark: "open", about: question.id })]];
  });
  if (found.length === 0) none(w);
  w.list(found);
}

function risks(w: PaperWriter): void {
  const { material, lang } = w;
  w.heading(1, { de: "5 Restrisiken", en: "5 Residual risks" });
  w.text({ de: "Sie bleiben, was immer gemessen wird.", en: "They stay whatever is measured." });
  w.table(
    [
      { title: { de: "Nr.", en: "No." }, width: 8 },
      { title: { de: "Risiko", en: "Risk" }, width: 52 },
      { title: { de: "Entscheidung", en: "Decision" }, width: 40 },
    ],
    RISKS.map(({ id, text }) => {
      const { decision, row, origin, doubt } = decisionOn(material, id, null);
      const parts: Run[] = [plain(DECISIONS[decision][lang]), ...(doubt ? [plain(`, ${DOUBTS[doubt][lang]}`)] : [])];
      for (const value of [row?.measure, row?.deadline]) if (value) parts.push(plain(`, ${clean(value)}`));
      const mark = decision === "open" ? ({ mark: "open", about: "Q42" } as const) : origin;
      return [[sentence([{ text: id, strong: true }])], [sentence(text[lang])], [sentence(parts, mark)]];
    }),
  );
}

function deletion(w: PaperWriter): void {
  const { lang } = w;
  w.heading(1, { de: "6 Löschung alter Datenträger", en: "6 Erasure of old disks" });
  w.text({
    de: "Nach einer Verlegung auf verschlüsselte Datenträger ist der alte zu löschen. Ein Sanitize betrifft immer das ganze Gerät, also auch alles andere, was darauf liegt.",
    en: "After a move to encrypted disks the old one has to be erased. A sanitize always hits the whole device, so everything else on it too.",
  });
  w.table(
    [
      { title: { de: "Datenträger und Vorgeschichte", en: "Medium and history" }, width: 26 },
      { title: { de: "Verfahren", en: "Method" }, width: 34 },
      { title: { de: "Urteil", en: "Verdict" }, width: 15 },
      { title: { de: "Was bleibt", en: "What stays" }, width: 25 },
    ],
    DELETION.map(({ medium, method, verdict, residual }) => [
      [sentence(medium[lang])],
      [sentence(method[lang])],
      [sentence(STATES[verdict][lang])],
      [sentence(residual[lang])],
    ]),
  );
}
