import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const BAK_01: CatalogueEntry = {
  id: "BAK-01",
  title: { de: "Alter der letzten Sicherung", en: "Backup age" },
  letters: ["b", "c"],
  sdm: { goal: "Verfügbarkeit", measures: ["M11.P07"] },
  itGrundschutz: [
    { id: "CON.3.A5", title: "Regelmäßige Datensicherung", level: "B" },
    { id: "APP.5.3.A3", title: "Datensicherung und Archivierung von E-Mails", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "NOT.4.2",
      title: "Sicherung des Systems",
      uuid: "a77c3a5e-44fc-482c-974a-e4d9dc7cd255",
      level: "normal-SdT",
    },
    {
      id: "NOT.4.4",
      title: "Automatische Datensicherung",
      uuid: "20fa9557-7db9-4367-9592-35ca5d8e8be7",
      level: "normal-SdT",
    },
  ],
};
export const BAK_02: CatalogueEntry = {
  id: "BAK-02",
  title: { de: "Sicherung verschlüsselt", en: "Backup encrypted" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07"] },
  itGrundschutz: [
    { id: "CON.3.A13", title: "Einsatz kryptografischer Verfahren bei der Datensicherung", level: "H" },
    { id: "CON.3.A14", title: "Schutz von Datensicherungen", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "NOT.4.8",
      title: "Verschlüsselte Datensicherung",
      uuid: "b443fd60-5e58-454b-8d57-baec8a876d22",
      level: "normal-SdT",
    },
  ],
};
export const BAK_03: CatalogueEntry = {
  id: "BAK-03",
  title: { de: "Sicherung getrennt", en: "Backup separated" },
  letters: ["b", "c"],
  sdm: { goal: "Verfügbarkeit", measures: ["M11.P07"] },
  itGrundschutz: [
    { id: "CON.3.A12", title: "Sichere Aufbewahrung der Speichermedien für die Datensicherungen", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "NOT.4.10",
      title: "Getrennte Aufbewahrung",
      uuid: "c272387e-88de-4794-a223-c502c136a501",
      level: "normal-SdT",
    },
  ],
};
export const BAK_04: CatalogueEntry = {
  id: "BAK-04",
  title: { de: "Rücksicherung geprüft", en: "Restore tested" },
  letters: ["c", "d"],
  sdm: { goal: "Verfügbarkeit", measures: ["M11.P08", "M60.P08"] },
  itGrundschutz: [{ id: "CON.3.A15", title: "Regelmäßiges Testen der Datensicherungen", level: "B" }],
  grundschutzPlusPlus: [
    {
      id: "NOT.4.16",
      title: "Test der Datensicherung",
      uuid: "09fe99af-64b5-478f-80c0-c4ea6f6d4561",
      level: "normal-SdT",
    },
    {
      id: "NOT.4.16.1",
      title: "Test der Wiederherstellung",
      uuid: "77286239-41b4-49e0-86f7-1b64364d9759",
      level: "normal-SdT",
    },
  ],
};
