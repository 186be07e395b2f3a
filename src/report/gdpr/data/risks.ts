import type { Text } from "../../../audit/model.ts";

/** What stays whatever passes: printed always. The numbers stay for ever. */
export const RISKS: readonly { readonly id: string; readonly text: Text }[] = [
  {
    id: "R1",
    text: {
      de: "Laufendes System: Schlüssel stehen im Arbeitsspeicher; die Daten sind für die Systemverwaltung und für Eindringlinge lesbar.",
      en: "Running system: keys are in memory; the data can be read by root and by an intruder.",
    },
  },
  {
    id: "R2",
    text: {
      de: "Gäste vertrauen dem Host: Wer den Host beherrscht, beherrscht alle Gäste.",
      en: "Guests trust the host: whoever controls the host controls all guests.",
    },
  },
  {
    id: "R3",
    text: {
      de: "Auslesen des Arbeitsspeichers am laufenden oder eben abgeschalteten Gerät (Cold Boot, DMA).",
      en: "Memory read out of a running or just switched-off machine (cold boot, DMA).",
    },
  },
  {
    id: "R4",
    text: {
      de: "Der Mail-Anbieter sieht unverschlüsselte E-Mails und Verbindungsdaten.",
      en: "The mail provider sees unencrypted e-mails and metadata.",
    },
  },
  {
    id: "R5",
    text: {
      de: "OpenPGP lässt Kopfzeilen (Absender, Empfänger, Zeit, meist auch Betreff) offen.",
      en: "OpenPGP leaves headers (sender, recipients, time, mostly the subject) readable.",
    },
  },
  {
    id: "R6",
    text: {
      de: "SSDs behalten in Reservebereichen alte Daten und alte Schlüsselfächer.",
      en: "SSDs keep old data and old keyslots in spare areas.",
    },
  },
  {
    id: "R7",
    text: {
      de: "Alte Header-Sicherungen öffnen mit einer alten Passphrase weiterhin.",
      en: "Old header backups still open with an old passphrase.",
    },
  },
  {
    id: "R8",
    text: {
      de: "Kopien bei Empfängern liegen außerhalb der Kontrolle der Parteien.",
      en: "Copies at recipients are outside of the parties' control.",
    },
  },
  {
    id: "R9",
    text: {
      de: "Passphrasen können gestohlen, beobachtet oder erzwungen werden.",
      en: "Passphrases can be stolen, watched or forced.",
    },
  },
  {
    id: "R10",
    text: {
      de: "XTS schützt nicht vor unbemerkter Veränderung der Daten auf dem Datenträger.",
      en: "XTS does not protect against unnoticed changes of the data on disk.",
    },
  },
  {
    id: "R11",
    text: {
      de: "Die Filterung ausgehender Verbindungen verhindert keinen Abfluss über erlaubte Gegenstellen.",
      en: "Egress filtering cannot stop exfiltration through allowed peers.",
    },
  },
  {
    id: "R12",
    text: {
      de: "Die Software sieht einen Zeitpunkt, und nur was der Host meldet.",
      en: "The software sees one moment, and only what the host reports.",
    },
  },
];
