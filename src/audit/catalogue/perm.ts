import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const PERM_01: CatalogueEntry = {
  id: "PERM-01",
  title: { de: "Rechte an Abbildern und Block-Geräten", en: "Rights on images and devices" },
  letters: ["b"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.P40"] },
  itGrundschutz: [{ id: "SYS.1.5.A2", title: "Sicherer Einsatz virtueller IT-Systeme", level: "B" }],
  grundschutzPlusPlus: [
    {
      id: "BER.4.1",
      title: "Prinzip der geringsten Berechtigungen",
      uuid: "0e1f4190-44ad-48f0-9504-781aef585ba0",
      level: "normal-SdT",
    },
    {
      id: "KONF.6.4",
      title: "Privilegierte Systemfunktionen",
      uuid: "f129ae20-1423-4df0-a735-db8365592cd1",
      level: "normal-SdT",
    },
  ],
};
export const PERM_02: CatalogueEntry = {
  id: "PERM-02",
  title: { de: "Verwaltungszugänge", en: "Management access" },
  letters: ["b"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.P41", "M51.P47"] },
  itGrundschutz: [
    { id: "SYS.1.5.A5", title: "Schutz der Administrationsschnittstellen", level: "B" },
    {
      id: "SYS.1.5.A12",
      title: "Rechte- und Rollenkonzept für die Administration einer virtuellen Infrastruktur",
      level: "S",
    },
    { id: "SYS.1.3.A8", title: "Verschlüsselter Zugriff über Secure Shell", level: "S" },
  ],
  grundschutzPlusPlus: [
    {
      id: "ARCH.5.1.6",
      title: "Blockieren direkter Management-Verbindungen",
      uuid: "9e1420ba-9cc0-4d0d-a127-36881c1b90e5",
      level: "normal-SdT",
    },
    {
      id: "KONF.4.4",
      title: "Einschränkung von Fernwartungsfunktionen",
      uuid: "2e782e35-d708-49c3-b022-76616ae204be",
      level: "normal-SdT",
    },
  ],
};
export const PERM_03: CatalogueEntry = {
  id: "PERM-03",
  title: { de: "Kapselung des QEMU-Prozesses", en: "QEMU confinement" },
  letters: ["b"],
  sdm: { goal: "Integrität", measures: ["M50.S03"] },
  itGrundschutz: [
    { id: "SYS.1.5.A22", title: "Härtung des Virtualisierungsservers", level: "H" },
    { id: "SYS.1.5.A23", title: "Rechte-Einschränkung der virtuellen Maschinen", level: "H" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.6.1.2",
      title: "Isolierung von Anwendungen",
      uuid: "d380c6d8-1ab0-4e4b-bcca-2e620b40d934",
      level: "erhöht",
    },
  ],
};
export const PERM_04: CatalogueEntry = {
  id: "PERM-04",
  title: { de: "Trennung zwischen Gästen", en: "Separation between guests" },
  letters: ["b"],
  sdm: { goal: "Nichtverkettung", measures: ["M50.S03", "M50.P11"] },
  itGrundschutz: [
    { id: "SYS.1.5.A15", title: "Betrieb von Gast-Betriebssystemen mit unterschiedlichem Schutzbedarf", level: "S" },
    { id: "SYS.1.5.A16", title: "Kapselung der virtuellen Maschinen", level: "S" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.6.16",
      title: "Datenaustausch in der Virtualisierung",
      uuid: "55db7b45-c04c-42c6-b803-eacd27aee6c7",
      level: "erhöht",
    },
  ],
};
