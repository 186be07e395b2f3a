import type { Lang, State, Text } from "../../audit/model.ts";
import type { Audience, PaperId } from "./model.ts";

export const PAPER_TITLES: Readonly<Record<PaperId, Text>> = {
  tom: {
    de: "Anlage: Technische und organisatorische Maßnahmen (Art. 32 DSGVO)",
    en: "Annex: technical and organisational measures (Art. 32 GDPR)",
  },
  record: {
    de: "Verzeichnis von Verarbeitungstätigkeiten (Art. 30 DSGVO)",
    en: "Record of processing activities (Art. 30 GDPR)",
  },
  evidence: { de: "Nachweisanhang", en: "Evidence appendix" },
  deviations: { de: "Abweichungen und Restrisiken", en: "Deviations and residual risks" },
};

export const STATES: Readonly<Record<State, Text>> = {
  pass: { de: "bestanden", en: "pass" },
  warn: { de: "eingeschränkt", en: "limited" },
  fail: { de: "nicht bestanden", en: "fail" },
  unknown: { de: "nicht gemessen", en: "unknown" },
  "n-a": { de: "nicht zutreffend", en: "not applicable" },
};

export const AUDIENCES: Readonly<Record<Audience, Text>> = {
  client: { de: "Auftraggeber", en: "client" },
  authority: { de: "Aufsichtsbehörde", en: "supervisory authority" },
  internal: { de: "intern", en: "internal" },
};

export const LEGEND: Text = {
  de: "Jede Aussage trägt ihre Herkunft: [G] gemessen (Prüfung, Zeit in UTC), [E] erklärt (wer, Datum, Frage), [O] offen. Was gemessen eingeschränkt oder nicht bestanden ist, steht im Dokument „Abweichungen und Restrisiken“.",
  en: "Each statement carries its origin: [M] measured (check, time in UTC), [D] declared (who, date, question), [O] open. What was measured as limited or failed is in the document “Deviations and residual risks”.",
};

const W = {
  host: { de: "Host", en: "Host" },
  guest: { de: "Gast", en: "Guest" },
  guests: { de: "Gäste", en: "Guests" },
  limited: { de: "Eingeschränkt", en: "Limited" },
  seeDeviation: { de: "siehe Abweichung", en: "see deviation" },
  notDeclared: { de: "nicht erklärt", en: "not declared" },
  incomplete: { de: "die Angabe ist unvollständig", en: "the declaration is incomplete" },
  tooOld: {
    de: "die Angabe ist älter als zwölf Monate und muss bestätigt werden",
    en: "the declaration is older than twelve months and has to be confirmed",
  },
  nothingMeasured: {
    de: "Keine Maßnahme dieses Abschnitts ist durch Messung belegt.",
    en: "No measure of this chapter is established by measurement.",
  },
  yes: { de: "ja", en: "yes" },
  no: { de: "nein", en: "no" },
  encrypted: { de: "verschlüsselt", en: "encrypted" },
  notEncrypted: { de: "nicht verschlüsselt", en: "not encrypted" },
  unclear: { de: "nicht festgestellt", en: "not determined" },
} as const satisfies Record<string, Text>;

/** `word("host", "de")` */
export function word(name: keyof typeof W, lang: Lang): string {
  return W[name][lang];
}
