import type { Question } from "../model.ts";
import { after, choice, date, optional, t, text, yesNo } from "./fields.ts";

/** The way of a mail: reception, sending, transport, spam, storage. */
export const MAIL: readonly Question[] = [
  {
    id: "Q11",
    kind: "office",
    topic: "reception",
    title: t("Anbieter für den Empfang", "Provider for reception"),
    ask: t("Bei welchen Anbietern kommt E-Mail an?", "At which providers does e-mail arrive?"),
    many: true,
    fields: [
      text("name", "Anbieter", "Provider"),
      text("address", "Anschrift", "Address"),
      text("country", "Land", "Country"),
      date("contract", "Vertrag (Art. 28) vom", "Contract (Art. 28) of", optional),
    ],
  },
  {
    id: "Q12",
    kind: "office",
    topic: "reception",
    title: t("Speicherung beim Anbieter", "Storage at the provider"),
    ask: t(
      "Speichert der Anbieter die E-Mails, wie lange, und wer löscht sie?",
      "Does the provider store the e-mails, for how long, and who deletes them?",
    ),
    fields: [
      choice("kind", t("Art", "Kind"), {
        mailbox: t("Postfach", "mailbox"),
        "pass-through": t("nur Durchleitung", "pass-through only"),
      }),
      text("period", "Dauer", "Period"),
      text("deletes", "Wer löscht", "Who deletes"),
    ],
  },
  {
    id: "Q13",
    kind: "office",
    topic: "reception",
    title: t("Abruf", "Retrieval"),
    ask: t("Mit welchem Protokoll wird abgerufen?", "Which protocol fetches the e-mails?"),
    fields: [text("protocol", "Protokoll", "Protocol", { example: t("IMAP über TLS 1.3", "IMAP over TLS 1.3") })],
  },
  {
    id: "Q14",
    kind: "office",
    topic: "sending",
    title: t("Versandweg", "Relay"),
    ask: t("Über welchen Server wird versandt?", "Which server sends?"),
    fields: [
      text("relay", "Server oder Anbieter", "Server or provider"),
      text("country", "Land", "Country"),
      date("contract", "Vertrag (Art. 28) vom", "Contract (Art. 28) of", optional),
    ],
  },
  {
    id: "Q15",
    kind: "office",
    topic: "sending",
    title: t("SPF, DKIM, DMARC", "SPF, DKIM, DMARC"),
    ask: t("Was ist für Ihre Absenderdomain veröffentlicht?", "What is published for your sending domain?"),
    fields: [
      yesNo("spf", "SPF", "SPF"),
      yesNo("dkim", "DKIM", "DKIM"),
      choice("dmarc", t("DMARC", "DMARC"), {
        none: t("keine Richtlinie oder p=none", "no policy, or p=none"),
        quarantine: t("p=quarantine", "p=quarantine"),
        reject: t("p=reject", "p=reject"),
      }),
    ],
  },
  {
    id: "Q16",
    kind: "office",
    topic: "sending",
    title: t("Schutz vor Fehlversand", "Control against misdirection"),
    ask: t("Wie wird verhindert, dass E-Mail an die Falschen geht?", "How is mail to the wrong people prevented?"),
    fields: [
      text("control", "Vorkehrung", "Control", {
        example: t("Prüfung der Adresse vor dem Absenden", "The address is checked before sending"),
      }),
    ],
  },
  {
    id: "Q17",
    kind: "client",
    topic: "transport",
    title: t("TLS je Domain des Auftraggebers", "TLS for each of the client's domains"),
    ask: t(
      "Welche Transportverschlüsselung ist für welche Domain vereinbart?",
      "Which transport encryption was agreed for which domain?",
    ),
    many: true,
    fields: [
      text("domain", "Domain", "Domain"),
      choice("tls", t("TLS", "TLS"), {
        mandatory: t("verpflichtend", "mandatory"),
        qualified: t(
          "verpflichtend, mit Prüfung des Zertifikats (DANE oder PKI)",
          "mandatory, certificate verified (DANE or PKI)",
        ),
        opportunistic: t("wenn möglich", "opportunistic"),
      }),
    ],
  },
  {
    id: "Q18",
    kind: "client",
    topic: "transport",
    title: t("Ende-zu-Ende-Verschlüsselung", "End-to-end encryption"),
    ask: t(
      "Wofür werden OpenPGP oder S/MIME verwendet, wie werden Schlüssel ausgetauscht, wo liegt der private?",
      "For what are OpenPGP or S/MIME used, how are keys exchanged, where is the private one?",
    ),
    fields: [
      choice("method", t("Verfahren", "Method"), {
        openpgp: t("OpenPGP", "OpenPGP"),
        smime: t("S/MIME", "S/MIME"),
        both: t("OpenPGP und S/MIME", "OpenPGP and S/MIME"),
        none: t("keines", "none"),
      }),
      text("content", "Wofür", "For what", optional),
      text("exchange", "Schlüsselaustausch", "Key exchange", optional),
      text("private-key", "Ort des privaten Schlüssels", "Place of the private key", optional),
    ],
  },
  {
    id: "Q19",
    kind: "client",
    topic: "transport",
    title: t("Wenn die Gegenseite nicht verschlüsseln kann", "If the other side cannot encrypt"),
    ask: t(
      "Was geschieht, wenn die Gegenseite nicht verschlüsseln kann?",
      "What happens if the other side cannot encrypt?",
    ),
    fields: [
      text("fallback", "Ersatzweg", "Fallback", { example: t("Rückfrage, kein Versand", "We ask; nothing is sent") }),
    ],
  },
  {
    id: "Q20",
    kind: "office",
    topic: "spam",
    title: t("Spam- und Schadsoftwareprüfung bei Dritten", "Spam and malware checks by others"),
    ask: t(
      "Welche fremden Dienste prüfen E-Mail, und was verlässt dabei das Haus?",
      "Which services of others check e-mail, and what leaves the house?",
    ),
    many: true,
    fields: [
      text("service", "Dienst", "Service"),
      choice("leaves", t("Was übertragen wird", "What is sent"), {
        checksum: t("Prüfsummen", "checksums"),
        text: t("der volle Text", "the full text"),
        url: t("Adressen von Webseiten", "URLs"),
        ip: t("IP-Adressen", "IP addresses"),
        nothing: t("nichts", "nothing"),
      }),
      text("operator", "Betreiber", "Operator"),
      text("country", "Land", "Country"),
      text("contract", "Vertrag", "Contract", optional),
    ],
  },
  {
    id: "Q21",
    kind: "office",
    topic: "spam",
    title: t("Prüfung verschlüsselter E-Mail", "Handling of encrypted mail"),
    ask: t("Wie wird mit verschlüsselten E-Mails verfahren?", "How are encrypted e-mails handled?"),
    fields: [text("handling", "Verfahren", "Handling")],
  },
  {
    id: "Q22",
    kind: "client",
    topic: "storage",
    title: t("Orte der E-Mails", "Places of the e-mails"),
    ask: t(
      "Wo liegen E-Mails überall (Server, Rechner, Telefone, Webmail, Suchindex)?",
      "Where do e-mails lie (server, computers, phones, webmail, search index)?",
    ),
    fields: [text("places", "Orte", "Places")],
  },
  {
    id: "Q23",
    kind: "client",
    topic: "storage",
    title: t("Aufbewahrungspflichten", "Duties to archive"),
    ask: t(
      "Welche E-Mails müssen aufbewahrt werden (Steuer-, Handelsrecht), und wie sind sie getrennt?",
      "Which e-mails must be kept (tax, commercial law), and how are they kept apart?",
    ),
    fields: [text("duty", "Pflicht", "Duty"), text("separation", "Trennung", "Separation", optional)],
  },
  {
    id: "Q24",
    kind: "office",
    topic: "storage",
    title: t("Datenträger der Arbeitsgeräte", "Disks of workstations"),
    ask: t(
      "Sind die Datenträger der Rechner und Telefone verschlüsselt, mit denen E-Mail gelesen wird?",
      "Are the disks of the computers and phones encrypted that read e-mail?",
    ),
    fields: [yesNo("encrypted", "Verschlüsselt", "Encrypted"), text("how", "Womit", "With what", after("encrypted"))],
  },
];
