import type { Text } from "../../../audit/model.ts";

/** Where the TOM annex names a measure. */
export type Section =
  | "encryption"
  | "system"
  | "access"
  | "separation"
  | "transfer"
  | "availability"
  | "evaluation"
  | "erasure";

/** A sentence of the TOM annex, and all checks that have to pass before it is said. */
export interface Measure {
  readonly section: Section;
  /** The first is what it is about. */
  readonly checks: readonly [string, ...string[]];
  readonly text: Text;
}

/** Every check has one. How data are encrypted says something only of a guest all of whose disks are. What they claim is what the check's criteria for `pass` say, and no more. */
export const MEASURES: readonly Measure[] = [
  {
    section: "encryption",
    checks: ["ENC-01"],
    text: {
      de: "Alle beschreibbaren Datenträger liegen auf jedem Weg bis zum physischen Datenträger auf aktiver Verschlüsselung (LUKS/dm-crypt).",
      en: "All writable disks lie on active encryption (LUKS/dm-crypt) on every way down to the physical disk.",
    },
  },
  {
    section: "encryption",
    checks: ["ENC-02", "ENC-01"],
    text: {
      de: "Die Verschlüsselung umfasst ganze Partitionen, Volumes oder Datenträger.",
      en: "The encryption covers whole partitions, volumes or disks.",
    },
  },
  {
    section: "encryption",
    checks: ["ENC-03", "ENC-01"],
    text: {
      de: "Verfahren, Betriebsart und Schlüssellänge der Verschlüsselung genügen der genannten Richtlinie.",
      en: "Cipher, mode and key size of the encryption meet the policy named above.",
    },
  },
  {
    section: "encryption",
    checks: ["ENC-04", "ENC-01"],
    text: {
      de: "Die aktive Verschlüsselung entspricht den Angaben im Header; keine Umverschlüsselung ist unvollendet.",
      en: "The active encryption is what the header says; no re-encryption is unfinished.",
    },
  },
  {
    section: "encryption",
    checks: ["ENC-05", "ENC-01"],
    text: {
      de: "Die Ableitung der Schlüssel aus Passphrasen genügt der genannten Richtlinie.",
      en: "The derivation of keys from passphrases meets the policy named above.",
    },
  },
  {
    section: "encryption",
    checks: ["ENC-06", "ENC-01"],
    text: {
      de: "Zahl und Art der Wege zum Entsperren entsprechen der Erklärung; ein Weg zur Wiederherstellung ist vorhanden.",
      en: "Number and type of the ways to unlock are as declared; one for recovery exists.",
    },
  },
  {
    section: "encryption",
    checks: ["KEY-01"],
    text: {
      de: "Zum Entsperren beim Start ist eine eingegebene Passphrase, ein FIDO2-Schlüssel oder TPM2 mit PIN nötig.",
      en: "Unlocking at boot takes a typed passphrase, a FIDO2 key, or TPM2 with a PIN.",
    },
  },
  {
    section: "encryption",
    checks: ["KEY-02"],
    text: {
      de: "Schlüsseldateien sind nur für die Systemverwaltung lesbar und liegen selbst auf verschlüsselten Datenträgern.",
      en: "Key files are readable by the administrator only and lie on encrypted disks themselves.",
    },
  },
  {
    section: "encryption",
    checks: ["KEY-04"],
    text: { de: "Die Systemdatenträger des Hosts sind verschlüsselt.", en: "The host's system disks are encrypted." },
  },
  {
    section: "encryption",
    checks: ["LEAK-01"],
    text: {
      de: "Ausgelagerter Arbeitsspeicher (Swap) gelangt nicht unverschlüsselt auf Datenträger.",
      en: "Swapped memory does not reach disks unencrypted.",
    },
  },
  {
    section: "encryption",
    checks: ["LEAK-02"],
    text: {
      de: "Der Ruhezustand ist abgeschaltet oder schreibt auf einen verschlüsselten Datenträger.",
      en: "Hibernation is disabled or writes to an encrypted disk.",
    },
  },
  {
    section: "encryption",
    checks: ["LEAK-03"],
    text: {
      de: "Gesicherter Arbeitsspeicher von Gästen gelangt nicht unverschlüsselt auf Datenträger.",
      en: "Saved guest memory does not reach disks unencrypted.",
    },
  },
  {
    section: "encryption",
    checks: ["LEAK-04"],
    text: {
      de: "Snapshots und Überlagerungsdateien fehlen, oder sie liegen verschlüsselt und sind nicht älter als vorgesehen.",
      en: "There are no snapshots or overlays, or they lie encrypted and are not older than intended.",
    },
  },
  {
    section: "encryption",
    checks: ["LEAK-05"],
    text: {
      de: "Speicherabbilder nach Abstürzen enthalten keinen Gastspeicher oder liegen verschlüsselt.",
      en: "Core dumps hold no guest memory or lie encrypted.",
    },
  },
  {
    section: "encryption",
    checks: ["LEAK-06"],
    text: {
      de: "An den durchsuchten Orten liegen keine Kopien von Gastdaten außerhalb der Verschlüsselung.",
      en: "In the places searched there are no copies of guest data outside of the encryption.",
    },
  },
  {
    section: "encryption",
    checks: ["DISC-01"],
    text: {
      de: "Die Behandlung freigegebener Blöcke (Discard/TRIM) ist über alle Schichten einheitlich und entspricht der Erklärung.",
      en: "The handling of freed blocks (discard/TRIM) is the same in all layers and as declared.",
    },
  },
  {
    section: "encryption",
    checks: ["BAK-02"],
    text: { de: "Sicherungen sind verschlüsselt.", en: "Backups are encrypted." },
  },
  {
    section: "encryption",
    checks: ["MAIL-01", "ENC-01"],
    text: {
      de: "Die abgelegten E-Mails liegen auf einem Datenträger, dessen Verschlüsselung geprüft wurde.",
      en: "The stored e-mails lie on a disk whose encryption was checked.",
    },
  },
  {
    section: "system",
    checks: ["PERM-02"],
    text: {
      de: "Die Verwaltung der Virtualisierung ist nur lokal und nur für die erklärten Personen zugänglich.",
      en: "The virtualisation is managed locally only, by the declared people only.",
    },
  },
  {
    section: "access",
    checks: ["PERM-01"],
    text: {
      de: "Abbilder und Datenträger der Gäste sind für gewöhnliche Benutzer des Hosts nicht lesbar.",
      en: "Images and disks of guests cannot be read by ordinary users of the host.",
    },
  },
  {
    section: "separation",
    checks: ["PERM-03"],
    text: {
      de: "Gäste laufen ohne Administratorrechte unter einer aktiven Zugriffskontrolle des Kernels (AppArmor oder SELinux).",
      en: "Guests run without administrator's rights, confined by the kernel (AppArmor or SELinux).",
    },
  },
  {
    section: "separation",
    checks: ["PERM-04"],
    text: {
      de: "Mit Gästen außerhalb des Geltungsbereichs werden weder Datenträger noch Verzeichnisse, Zwischenablage oder USB-Geräte geteilt.",
      en: "Neither disks nor folders, clipboard or USB devices are shared with guests outside of the scope.",
    },
  },
  {
    section: "separation",
    checks: ["LEAK-07"],
    text: {
      de: "Mit dem Host geteilte Verzeichnisse und Konsolenprotokolle fehlen, oder sie liegen verschlüsselt und nur für Berechtigte lesbar.",
      en: "There are no folders shared with the host and no console logs, or they lie encrypted and readable by the entitled only.",
    },
  },
  {
    section: "transfer",
    checks: ["NET-01"],
    text: {
      de: "Ausgehende Verbindungen sind verboten, soweit sie nicht ausdrücklich erlaubt sind.",
      en: "Outgoing connections are denied unless expressly allowed.",
    },
  },
  {
    section: "transfer",
    checks: ["NET-02"],
    text: {
      de: "Erlaubt sind nur Verbindungen zu den erklärten Gegenstellen.",
      en: "Only connections to the declared peers are allowed.",
    },
  },
  {
    section: "transfer",
    checks: ["NET-03"],
    text: {
      de: "Für IPv6 gilt dasselbe wie für IPv4, oder IPv6 ist abgeschaltet.",
      en: "IPv6 is treated as IPv4, or disabled.",
    },
  },
  {
    section: "transfer",
    checks: ["NET-04"],
    text: {
      de: "Gefälschte Absenderadressen (IP und MAC) werden unterbunden.",
      en: "Spoofed sender addresses (IP and MAC) are blocked.",
    },
  },
  {
    section: "transfer",
    checks: ["MAIL-02"],
    text: {
      de: "Die Transportverschlüsselung ist so eingestellt, wie es für die erklärten Domains vereinbart ist.",
      en: "Transport encryption is set as agreed for the declared domains.",
    },
  },
  {
    section: "transfer",
    checks: ["MAIL-03"],
    text: {
      de: "Zur Spamprüfung werden nur die erklärten Dienste Dritter verwendet.",
      en: "Only the declared services of others are used for spam checks.",
    },
  },
  {
    section: "availability",
    checks: ["ENC-07"],
    text: {
      de: "Von den Verschlüsselungs-Headern gibt es aktuelle Sicherungen, geschützt und getrennt vom Datenträger.",
      en: "There are current backups of the encryption headers, protected and apart from the disk.",
    },
  },
  {
    section: "availability",
    checks: ["KEY-03"],
    text: {
      de: "Gäste starten nur, wenn ihr Datenträger entsperrt ist.",
      en: "Guests start only when their disk is unlocked.",
    },
  },
  {
    section: "availability",
    checks: ["BAK-01"],
    text: {
      de: "Die letzte Sicherung ist nicht älter als das erklärte Intervall.",
      en: "The last backup is not older than the declared interval.",
    },
  },
  {
    section: "availability",
    checks: ["BAK-03"],
    text: {
      de: "Sicherungen liegen auf einem anderen Host oder einem getrennten Datenträger.",
      en: "Backups lie on another host or a separate medium.",
    },
  },
  {
    section: "availability",
    checks: ["BAK-04"],
    text: {
      de: "Die Rücksicherung wurde innerhalb der Frist der Richtlinie erfolgreich erprobt.",
      en: "Restoring was tested successfully within the policy's period.",
    },
  },
  {
    section: "evaluation",
    checks: ["INV-01"],
    text: {
      de: "Uhrzeit und Werkzeuge des Hosts erlauben verwertbare Messungen.",
      en: "The host's clock and tools allow usable measurements.",
    },
  },
  {
    section: "evaluation",
    checks: ["INV-02"],
    text: {
      de: "Der Bestand an Gästen entspricht dem erklärten Geltungsbereich.",
      en: "The guests that exist are those of the declared scope.",
    },
  },
  {
    section: "evaluation",
    checks: ["GOV-01"],
    text: {
      de: "Sicherheitsaktualisierungen des Hosts sind eingespielt.",
      en: "Security updates of the host are installed.",
    },
  },
  {
    section: "evaluation",
    checks: ["GOV-02"],
    text: {
      de: "Die Prüfung wird regelmäßig wiederholt, und ihre Nachweise bilden eine lückenlose Kette.",
      en: "The audit is repeated regularly, and its evidence forms an unbroken chain.",
    },
  },
  {
    section: "erasure",
    checks: ["DEL-01"],
    text: {
      de: "Für abgelöste Datenträger liegen schlüssige Löschnachweise vor.",
      en: "There are plausible deletion records for retired disks.",
    },
  },
  {
    section: "erasure",
    checks: ["DEL-02"],
    text: {
      de: "Auf abgelösten Datenträgern wurden keine Reste gefunden.",
      en: "No remains were found on retired disks.",
    },
  },
];
