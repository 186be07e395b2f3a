import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const ENC_01: CatalogueEntry = {
  id: "ENC-01",
  title: { de: "Alle Datenträger des Gastes liegen auf LUKS", en: "Every guest disk rests on LUKS" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07"] },
  itGrundschutz: [
    { id: "SYS.1.1.A34", title: "Festplattenverschlüsselung", level: "H" },
    { id: "SYS.1.5.A28", title: "Verschlüsselung von virtuellen IT-Systemen", level: "H" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.3.2",
      title: "Speicherverschlüsselung",
      uuid: "e760f62d-1c68-4665-b07b-5b2846550d59",
      level: "normal-SdT",
    },
  ],
};
export const ENC_02: CatalogueEntry = {
  id: "ENC-02",
  title: { de: "Volume/Partition statt Containerdatei", en: "Whole volume, not container file" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07"] },
  itGrundschutz: [{ id: "SYS.1.1.A34", title: "Festplattenverschlüsselung", level: "H" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.3.2",
      title: "Speicherverschlüsselung",
      uuid: "e760f62d-1c68-4665-b07b-5b2846550d59",
      level: "normal-SdT",
    },
  ],
};
export const ENC_03: CatalogueEntry = {
  id: "ENC-03",
  title: { de: "Cipher, Modus, Schlüssellänge im Header", en: "Cipher, mode, key size in header" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07"] },
  itGrundschutz: [{ id: "CON.1.A1", title: "Auswahl geeigneter kryptografischer Verfahren", level: "B" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.2",
      title: "Kryptographische Verfahren in IT-Systemen",
      uuid: "e4570c64-4790-4a5c-95e4-4c168d447566",
      level: "normal-SdT",
    },
    { id: "BER.7.2", title: "Schlüssellänge", uuid: "39301f7d-20ca-49c0-97e5-a8b048877e68", level: "normal-SdT" },
    {
      id: "BER.7.8",
      title: "Etablierte Algorithmen bei der Schlüsselnutzung",
      uuid: "efea2ba5-e5b5-4344-9341-b87340dab114",
      level: "normal-SdT",
    },
  ],
};
export const ENC_04: CatalogueEntry = {
  id: "ENC-04",
  title: { de: "Aktive Abbildung entspricht Header", en: "Active mapping equals header" },
  letters: ["a", "b"],
  sdm: { goal: "Integrität", measures: ["M42.P29"] },
  itGrundschutz: [{ id: "CON.1.A11", title: "Sichere Konfiguration der Kryptomodule", level: "H" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.5",
      title: "Überprüfung der Konfiguration",
      uuid: "a37d5c17-d296-4810-ac13-4a15e7b40e97",
      level: "normal-SdT",
    },
  ],
};
export const ENC_05: CatalogueEntry = {
  id: "ENC-05",
  title: { de: "Schlüsselableitung je Keyslot", en: "KDF of every keyslot" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M60.P09"] },
  itGrundschutz: [{ id: "CON.1.A4", title: "Geeignetes Schlüsselmanagement", level: "S" }],
  grundschutzPlusPlus: [
    {
      id: "BER.7.1",
      title: "Etablierte Algorithmen bei der Schlüsselerzeugung",
      uuid: "d9e08db0-484e-4cce-89de-2f29f1a52e4e",
      level: "normal-SdT",
    },
    {
      id: "BER.7.8",
      title: "Etablierte Algorithmen bei der Schlüsselnutzung",
      uuid: "efea2ba5-e5b5-4344-9341-b87340dab114",
      level: "normal-SdT",
    },
  ],
};
export const ENC_06: CatalogueEntry = {
  id: "ENC-06",
  title: { de: "Keyslot-Bestand wie erklärt", en: "Keyslots as declared" },
  letters: ["a", "c"],
  sdm: { goal: "Vertraulichkeit", measures: ["M60.P09", "M51.P47"] },
  itGrundschutz: [
    { id: "CON.1.A4", title: "Geeignetes Schlüsselmanagement", level: "S" },
    { id: "SYS.1.1.A34", title: "Festplattenverschlüsselung", level: "H" },
  ],
  grundschutzPlusPlus: [
    { id: "BER.7.9", title: "Zweckbindung", uuid: "c5ed06a9-b144-43a9-b269-ff914304036a", level: "normal-SdT" },
    {
      id: "BER.7.15",
      title: "Vorgehensweise nach Nutzung",
      uuid: "4eb39607-cb0f-4dac-8a4c-5637fe5f3ab3",
      level: "normal-SdT",
    },
  ],
};
export const ENC_07: CatalogueEntry = {
  id: "ENC-07",
  title: { de: "Header-Sicherung vorhanden und aktuell", en: "Header backup present and current" },
  letters: ["b", "c"],
  sdm: { goal: "Verfügbarkeit", measures: ["M11.P07", "M60.P09"] },
  itGrundschutz: [{ id: "CON.1.A2", title: "Datensicherung bei Einsatz kryptografischer Verfahren", level: "B" }],
  grundschutzPlusPlus: [
    {
      id: "NOT.4.10",
      title: "Getrennte Aufbewahrung",
      uuid: "c272387e-88de-4794-a223-c502c136a501",
      level: "normal-SdT",
    },
    {
      id: "NOT.4.6",
      title: "Geschützte Aufbewahrung",
      uuid: "ac46110b-7f7f-4111-b7e8-5abf648563b9",
      level: "normal-SdT",
    },
  ],
};
