import type { Text } from "../../../audit/model.ts";

/** What a deviation means for the people whose data they are (Art. 32(2) GDPR), by the check's group. */
const EFFECTS: Readonly<Record<string, Text>> = {
  ENC: {
    de: "Bei Verlust, Diebstahl, Reparatur oder Aussonderung eines Datenträgers könnten Unbefugte E-Mails der betroffenen Personen lesen.",
    en: "If a disk is lost, stolen, repaired or disposed of, others could read the data subjects' e-mails.",
  },
  KEY: {
    de: "Wer an Schlüssel gelangt, hebt die Verschlüsselung auf und könnte E-Mails der betroffenen Personen lesen.",
    en: "Whoever gets at keys undoes the encryption and could read the data subjects' e-mails.",
  },
  LEAK: {
    de: "Inhalte von E-Mails könnten unverschlüsselt auf Datenträgern zurückbleiben, ohne dass es jemand bemerkt.",
    en: "Contents of e-mails could stay on disks unencrypted without anybody noticing.",
  },
  DISC: {
    de: "Aus der Belegung eines Datenträgers könnten Rückschlüsse möglich sein, oder gelöschte Daten bleiben länger erhalten.",
    en: "The usage of a disk could be observed, or deleted data could stay longer.",
  },
  PERM: {
    de: "Andere Benutzer oder Programme des Hosts könnten auf Daten der betroffenen Personen zugreifen.",
    en: "Other users or programs of the host could get at the data subjects' data.",
  },
  NET: {
    de: "Daten der betroffenen Personen könnten an Stellen abfließen, die dafür nicht vorgesehen sind.",
    en: "The data subjects' data could flow to places that are not meant to have them.",
  },
  BAK: {
    de: "Daten könnten nach einem Zwischenfall nicht rechtzeitig verfügbar sein, oder Sicherungen könnten von Unbefugten gelesen werden.",
    en: "Data could be unavailable after an incident, or backups could be read by others.",
  },
  MAIL: {
    de: "E-Mails könnten auf dem Transport oder bei Dritten von Unbefugten gelesen werden.",
    en: "E-mails could be read by others on the way or at third parties.",
  },
  DEL: {
    de: "Daten, die gelöscht sein sollten, könnten auf alten Datenträgern weiter lesbar sein.",
    en: "Data that should be deleted could still be readable on old disks.",
  },
  GOV: {
    de: "Bekannte Schwachstellen oder unbemerkte Veränderungen könnten den Schutz der Daten aufheben.",
    en: "Known vulnerabilities or unnoticed changes could undo the protection of the data.",
  },
  INV: {
    de: "Ob der Schutz besteht, lässt sich nicht verlässlich feststellen.",
    en: "Whether the protection exists cannot be determined reliably.",
  },
};

const UNKNOWN: Text = {
  de: "Die Wirkung auf betroffene Personen ist zu bewerten.",
  en: "The effect on data subjects has to be assessed.",
};

/** `check`: `ENC-01` */
export function effectOf(check: string): Text {
  return EFFECTS[check.split("-")[0] ?? ""] ?? UNKNOWN;
}
