import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const DEL_01: CatalogueEntry = {
  id: "DEL-01",
  title: { de: "Löschnachweis schlüssig", en: "Deletion record plausible" },
  letters: ["b", "d"],
  sdm: { goal: "Intervenierbarkeit", measures: ["M60.S05", "M60.S06", "M60.S01"] },
  itGrundschutz: [
    { id: "CON.6.A12", title: "Mindestanforderungen an Verfahren zur Löschung und Vernichtung", level: "B" },
    {
      id: "CON.6.A4",
      title: "Auswahl geeigneter Verfahren zur Löschung oder Vernichtung von Datenträgern",
      level: "S",
    },
  ],
  grundschutzPlusPlus: [
    {
      id: "ASST.7.3",
      title: "Geregeltes Löschen oder Vernichten",
      uuid: "7dc77e01-b62b-4e7f-bb4c-d9c67551d8fa",
      level: "normal-SdT",
    },
    { id: "ASST.7.3.2", title: "Löschverfahren", uuid: "aeea856c-cbc3-47a2-bc60-56515be30f12", level: "normal-SdT" },
  ],
};
export const DEL_02: CatalogueEntry = {
  id: "DEL-02",
  title: { de: "Alter Träger zeigt keine Reste", en: "Old device shows no remains" },
  letters: ["b", "d"],
  sdm: { goal: "Intervenierbarkeit", measures: ["M60.S01", "M60.P14"] },
  itGrundschutz: [
    { id: "CON.6.A12", title: "Mindestanforderungen an Verfahren zur Löschung und Vernichtung", level: "B" },
  ],
  grundschutzPlusPlus: [
    { id: "ASST.7.4", title: "Wiederherstelltest", uuid: "08759519-9e68-4c39-964e-e2461161b8cc", level: "erhöht" },
  ],
};
