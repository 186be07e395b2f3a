import type { Text } from "../../../audit/model.ts";

/** What papers say of the law, and how long they hold: replaced, with its date, when the law changes. */
export const LAW = {
  /** State of the law that the texts were written for. */
  date: "2026-11",
  /** How long a paper holds after its run. Our judgment: measured facts change with every update of a host. */
  validMonths: 6,
  art30: {
    de: "Art. 30 Abs. 5 DSGVO nimmt Unternehmen und Einrichtungen mit weniger als 250 Beschäftigten von der Pflicht zum Verzeichnis aus, aber nur, wenn die Verarbeitung kein Risiko für die Rechte und Freiheiten der betroffenen Personen birgt, nur gelegentlich erfolgt und keine besonderen Kategorien (Art. 9) oder Daten über Straftaten (Art. 10) umfasst. Wer laufend E-Mails für Auftraggeber verarbeitet, erfüllt das in der Regel nicht. Die Vorschrift soll geändert werden (Vorschlag der Kommission „Omnibus IV“, COM(2025) 501): Wer sich auf die Ausnahme berufen will, prüft zuvor die geltende Fassung.",
    en: "Art. 30(5) GDPR exempts enterprises and organisations with fewer than 250 employees from keeping records, but only where the processing poses no risk to the rights and freedoms of data subjects, is occasional, and includes no special categories (Art. 9) or data on offences (Art. 10). Whoever processes e-mails for clients continually does not meet that as a rule. The provision is to be changed (the Commission's proposal “Omnibus IV”, COM(2025) 501): check the text in force before relying on the exemption.",
  },
} as const satisfies { date: string; validMonths: number; art30: Text };
