import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const KEY_01: CatalogueEntry = {
  id: "KEY-01",
  title: { de: "Entsperrung beim Start", en: "Unlock at boot" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M60.P09"] },
  itGrundschutz: [
    { id: "SYS.1.1.A34", title: "Festplattenverschlüsselung", level: "H" },
    { id: "CON.1.A4", title: "Geeignetes Schlüsselmanagement", level: "S" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.3.1",
      title: "Kryptographischer Hardwarespeicher",
      uuid: "5c63c101-f2d6-479c-963c-0280bd2fb8a7",
      level: "normal-SdT",
    },
    {
      id: "KONF.2.9",
      title: "Abgesicherter und authentisierter Bootprozess",
      uuid: "8d460d82-f7db-42c5-b213-625df4381ff3",
      level: "erhöht",
    },
  ],
};
export const KEY_02: CatalogueEntry = {
  id: "KEY-02",
  title: { de: "Schlüsseldateien geschützt", en: "Key files protected" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.P40"] },
  itGrundschutz: [{ id: "CON.1.A4", title: "Geeignetes Schlüsselmanagement", level: "S" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.1.5",
      title: "Verschlüsselung von Konfigurationsgeheimnissen",
      uuid: "195fff6c-f5c2-466c-8a28-81b3167dad8d",
      level: "normal-SdT",
    },
  ],
};
export const KEY_03: CatalogueEntry = {
  id: "KEY-03",
  title: { de: "Gast startet nicht ohne entsperrten Träger", en: "Guest cannot start without unlocked volume" },
  letters: ["b"],
  sdm: { goal: "Verfügbarkeit", measures: ["M11.S12"] },
  itGrundschutz: [
    { id: "SYS.1.5.A10", title: "Einführung von Verwaltungsprozessen für virtuelle IT-Systeme", level: "S" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.1",
      title: "Grundkonfiguration für Systeme",
      uuid: "8bd05aba-b395-43cf-a38e-f4e8656df7c4",
      level: "normal-SdT",
    },
  ],
};
export const KEY_04: CatalogueEntry = {
  id: "KEY-04",
  title: { de: "Host-Systemdatenträger", en: "Host system disk" },
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
