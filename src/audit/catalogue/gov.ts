import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const GOV_01: CatalogueEntry = {
  id: "GOV-01",
  title: { de: "Sicherheitsaktualisierungen", en: "Security updates" },
  letters: ["b"],
  sdm: { goal: "Integrität", measures: ["M51.S10"] },
  itGrundschutz: [
    { id: "OPS.1.1.3.A15", title: "Regelmäßige Aktualisierung von IT-Systemen und Software", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.8.1",
      title: "Automatische Überprüfung",
      uuid: "b26ab0d5-9daf-41e8-9b93-b8cfc58a2c4c",
      level: "normal-SdT",
    },
    {
      id: "KONF.8.1.1",
      title: "Automatische Sicherheitsupdates",
      uuid: "9a9b1174-5e40-49a5-8c4b-599c394a8de7",
      level: "normal-SdT",
    },
  ],
};
export const GOV_02: CatalogueEntry = {
  id: "GOV-02",
  title: { de: "Wiederholung und Nachweiskette", en: "Repetition and evidence chain" },
  letters: ["d"],
  sdm: { goal: "Transparenz", measures: ["M42.P29", "M42.P36", "M43.D19"] },
  itGrundschutz: [
    { id: "SYS.1.5.A19", title: "Regelmäßige Audits der Virtualisierungsinfrastruktur", level: "S" },
    { id: "SYS.1.1.A24", title: "Sicherheitsprüfungen für Server", level: "S" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.5",
      title: "Überprüfung der Konfiguration",
      uuid: "a37d5c17-d296-4810-ac13-4a15e7b40e97",
      level: "normal-SdT",
    },
    {
      id: "KONF.2.5.1",
      title: "Automatische Konfigurationsverwaltung",
      uuid: "fceb6b0b-2cf9-4644-9f48-c6b307b2d0ad",
      level: "erhöht",
    },
  ],
};
