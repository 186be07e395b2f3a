import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const LEAK_01: CatalogueEntry = {
  id: "LEAK-01",
  title: { de: "Auslagerungsspeicher", en: "Swap" },
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
export const LEAK_02: CatalogueEntry = {
  id: "LEAK-02",
  title: { de: "Ruhezustand", en: "Hibernation" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07"] },
  itGrundschutz: [{ id: "SYS.1.1.A34", title: "Festplattenverschlüsselung", level: "H" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.4",
      title: "Deaktivierung nicht benötigter Systemfunktionen",
      uuid: "24c072af-d71b-4d57-8b8f-119194e5cb8a",
      level: "normal-SdT",
    },
  ],
};
export const LEAK_03: CatalogueEntry = {
  id: "LEAK-03",
  title: { de: "Gesicherter Gast-Arbeitsspeicher", en: "Saved guest memory" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07", "M60.P14"] },
  itGrundschutz: [
    { id: "SYS.1.5.A24", title: "Deaktivierung von Snapshots virtueller IT-Systeme", level: "H" },
    { id: "SYS.1.1.A34", title: "Festplattenverschlüsselung", level: "H" },
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
export const LEAK_04: CatalogueEntry = {
  id: "LEAK-04",
  title: { de: "Snapshots und Overlays", en: "Snapshots and overlays" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M60.P14"] },
  itGrundschutz: [{ id: "SYS.1.5.A24", title: "Deaktivierung von Snapshots virtueller IT-Systeme", level: "H" }],
  grundschutzPlusPlus: [
    {
      id: "ASST.7.2",
      title: "Aufbewahrungs- und Löschfristen",
      uuid: "2574ffa3-fa96-4eed-8a9a-e67216d499d9",
      level: "normal-SdT",
    },
  ],
};
export const LEAK_05: CatalogueEntry = {
  id: "LEAK-05",
  title: { de: "Speicherabbilder", en: "Core dumps" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M11.D07"] },
  itGrundschutz: [{ id: "SYS.1.5.A22", title: "Härtung des Virtualisierungsservers", level: "H" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.4",
      title: "Deaktivierung nicht benötigter Systemfunktionen",
      uuid: "24c072af-d71b-4d57-8b8f-119194e5cb8a",
      level: "normal-SdT",
    },
  ],
};
export const LEAK_06: CatalogueEntry = {
  id: "LEAK-06",
  title: { de: "Liegengebliebene Klartextkopien", en: "Stray plaintext copies" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M60.P14"] },
  itGrundschutz: [
    {
      id: "CON.6.A2",
      title: "Ordnungsgemäßes Löschen und Vernichten von schützenswerten Betriebsmitteln und Informationen",
      level: "B",
    },
  ],
  grundschutzPlusPlus: [
    {
      id: "ASST.7.3",
      title: "Geregeltes Löschen oder Vernichten",
      uuid: "7dc77e01-b62b-4e7f-bb4c-d9c67551d8fa",
      level: "normal-SdT",
    },
  ],
};
export const LEAK_07: CatalogueEntry = {
  id: "LEAK-07",
  title: { de: "Durchgereichte Verzeichnisse und Konsolen-Logs", en: "Shares and console logs" },
  letters: ["a", "b"],
  sdm: { goal: "Nichtverkettung", measures: ["M50.P11"] },
  itGrundschutz: [{ id: "SYS.1.5.A3", title: "Sichere Konfiguration virtueller IT-Systeme", level: "B" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.6.16",
      title: "Datenaustausch in der Virtualisierung",
      uuid: "55db7b45-c04c-42c6-b803-eacd27aee6c7",
      level: "erhöht",
    },
  ],
};
