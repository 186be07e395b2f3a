import type { Question } from "../model.ts";
import { after, choice, date, optional, t, text, yesNo } from "./fields.ts";

/** Parties, data, and what both sides know: of one client. */
export const CLIENT: readonly Question[] = [
  {
    id: "Q01",
    kind: "client",
    topic: "parties",
    title: t("Rolle gegenüber dem Auftraggeber", "Role towards the client"),
    ask: t(
      "In welcher Rolle verarbeiten Sie die E-Mails dieses Auftraggebers, und warum?",
      "In which role do you process this client's e-mails, and why?",
    ),
    fields: [
      choice("role", t("Rolle", "Role"), {
        processor: t("Auftragsverarbeiter (Art. 28 DSGVO)", "Processor (Art. 28 GDPR)"),
        controller: t("eigener Verantwortlicher", "Controller"),
        both: t("beides, je nach Verarbeitung", "Both, depending on the processing"),
      }),
      text("reason", "Begründung", "Reason", {
        example: t("Wartung nach Weisung laut Vertrag", "Maintenance on instruction under the contract"),
      }),
    ],
  },
  {
    id: "Q02",
    kind: "client",
    topic: "parties",
    title: t("Auftraggeber", "Client"),
    ask: t("Wer ist der Auftraggeber (Verantwortliche)?", "Who is the client (controller)?"),
    fields: [
      text("name", "Name und Anschrift", "Name and address"),
      text("contact", "Ansprechperson", "Contact"),
      text("dpo", "Datenschutzbeauftragte Person", "Data protection officer", optional),
    ],
  },
  {
    id: "Q04",
    kind: "client",
    topic: "parties",
    title: t("Vertrag zur Auftragsverarbeitung", "Data processing agreement"),
    ask: t(
      "Welcher Vertrag zur Auftragsverarbeitung gilt, und auf welchem Weg kommen Weisungen?",
      "Which data processing agreement applies, and by which channel do instructions come?",
    ),
    fields: [
      text("reference", "Bezeichnung", "Reference"),
      date("signed", "Datum", "Date"),
      text("instructions", "Weg der Weisungen", "Channel of instructions", {
        example: t("schriftlich per E-Mail an die Vertragsadresse", "in writing, to the contract's address"),
      }),
    ],
  },
  {
    id: "Q05",
    kind: "client",
    topic: "parties",
    title: t("Dauer der Verarbeitung", "Duration of the processing"),
    ask: t("Wie lange dauert die Verarbeitung?", "How long does the processing last?"),
    fields: [text("duration", "Dauer", "Duration", { example: t("Laufzeit des Vertrags", "Term of the contract") })],
  },
  {
    id: "Q06",
    kind: "client",
    topic: "data",
    title: t("Kategorien betroffener Personen", "Categories of data subjects"),
    ask: t("Wessen Daten stehen in den E-Mails?", "Whose data are in the e-mails?"),
    fields: [
      text("subjects", "Betroffene", "Data subjects", {
        example: t("Beschäftigte, Kunden und Lieferanten", "Employees, customers and suppliers"),
      }),
    ],
  },
  {
    id: "Q07",
    kind: "client",
    topic: "data",
    title: t("Kategorien personenbezogener Daten", "Categories of personal data"),
    ask: t("Welche Arten von Daten stehen in den E-Mails?", "Which categories of data are in the e-mails?"),
    fields: [
      text("data", "Daten", "Data", {
        example: t("Kontaktdaten, Inhalte, Anhänge, Verbindungsdaten", "Contact data, contents, attachments, headers"),
      }),
    ],
  },
  {
    id: "Q08",
    kind: "client",
    topic: "data",
    title: t("Besondere Kategorien (Art. 9, 10 DSGVO)", "Special categories (Art. 9, 10 GDPR)"),
    ask: t(
      "Sind Daten nach Art. 9 oder 10 DSGVO dabei (Gesundheit, Religion, Straftaten …)?",
      "Are there data under Art. 9 or 10 GDPR (health, religion, offences …)?",
    ),
    fields: [
      yesNo("special", "Besondere Kategorien", "Special categories"),
      text("which", "Welche", "Which", after("special")),
    ],
  },
  {
    id: "Q09",
    kind: "client",
    topic: "data",
    title: t("Schutzbedarf", "Need of protection"),
    ask: t(
      "Welcher Schutzbedarf ist mit dem Auftraggeber vereinbart, und seit wann?",
      "Which need of protection was agreed with the client, and when?",
    ),
    fields: [
      choice("need", t("Schutzbedarf", "Need"), { normal: t("normal", "normal"), high: t("hoch", "high") }),
      date("agreed", "Vereinbart am", "Agreed on"),
    ],
  },
  {
    id: "Q10",
    kind: "client",
    topic: "data",
    title: t("Umfang", "Volume"),
    ask: t("Wie viel E-Mail fällt an, regelmäßig oder gelegentlich?", "How much e-mail, regularly or occasionally?"),
    fields: [
      text("volume", "Umfang", "Volume", { example: t("etwa 20 Nachrichten je Monat", "about 20 messages a month") }),
      choice("frequency", t("Häufigkeit", "Frequency"), {
        regular: t("regelmäßig", "regular"),
        occasional: t("gelegentlich", "occasional"),
      }),
    ],
  },
  {
    id: "Q41",
    kind: "client",
    topic: "joint",
    title: t("Kenntnisnahme des Auftraggebers", "Acknowledgement by the client"),
    ask: t(
      "Wer hat beim Auftraggeber die Anlage TOM und die Restrisiken gelesen, und wann?",
      "Who at the client has read the TOM annex and the residual risks, and when?",
    ),
    fields: [text("name", "Name", "Name"), date("read", "Gelesen am", "Read on")],
  },
  {
    id: "Q42",
    kind: "client",
    topic: "joint",
    title: t("Entscheidungen über Risiken und Abweichungen", "Decisions on risks and deviations"),
    ask: t(
      "Was hat der Auftraggeber zu einzelnen Risiken (R1–R12) oder Abweichungen (etwa ENC-01) entschieden?",
      "What has the client decided on risks (R1–R12) or deviations (such as ENC-01)?",
    ),
    many: true,
    fields: [
      text("subject", "Risiko oder Prüfung", "Risk or check", { example: t("R6", "R6") }),
      text("guest", "Gast", "Guest", optional),
      choice("decision", t("Entscheidung", "Decision"), {
        accepted: t("befristet hingenommen", "accepted until the deadline"),
        remediating: t("wird behoben", "being remedied"),
        closed: t("erledigt", "closed"),
        demanded: t("Maßnahme verlangt", "measure demanded"),
      }),
      text("measure", "Maßnahme", "Measure", optional),
      text("owner", "Zuständig", "Owner", optional),
      date("deadline", "Frist", "Deadline", optional),
      date("notified", "Auftraggeber informiert am", "Client notified on", optional),
    ],
  },
];
