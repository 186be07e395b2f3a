import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const MAIL_01: CatalogueEntry = {
  id: "MAIL-01",
  title: { de: "Mail-Ablage liegt im geprüften Bereich", en: "Mail store inside measured storage" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.D04"] },
  itGrundschutz: [{ id: "APP.5.3.A2", title: "Sicherer Betrieb von E-Mail-Servern", level: "B" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.11.8",
      title: "Verschlüsselung schützenswerter Daten (at-rest)",
      uuid: "d3e4416f-e997-4aec-a45b-eade4316d896",
      level: "erhöht",
    },
  ],
};
export const MAIL_02: CatalogueEntry = {
  id: "MAIL-02",
  title: { de: "Transportverschlüsselung", en: "Transport encryption" },
  letters: ["a", "b"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.S08"] },
  itGrundschutz: [
    { id: "APP.5.3.A2", title: "Sicherer Betrieb von E-Mail-Servern", level: "B" },
    { id: "APP.5.3.A9", title: "Erweiterte Sicherheitsmaßnahmen auf dem E-Mail-Server", level: "S" },
  ],
  grundschutzPlusPlus: [
    {
      id: "KONF.14.1",
      title: "Verschlüsselung beim Transport",
      uuid: "99806244-514d-43e2-be34-4ac7ab0517ad",
      level: "normal-SdT",
    },
    {
      id: "KONF.14.1.1",
      title: "Obligatorische Verschlüsselung",
      uuid: "b73c400e-b4f8-494c-ac02-619258f77a2d",
      level: "normal-SdT",
    },
  ],
};
export const MAIL_03: CatalogueEntry = {
  id: "MAIL-03",
  title: { de: "Spamprüfung bei Dritten", en: "Third-party spam checks" },
  letters: ["b"],
  sdm: { goal: "Nichtverkettung", measures: ["M50.D02", "M50.D04"] },
  itGrundschutz: [{ id: "APP.5.3.A4", title: "Spam- und Virenschutz auf dem E-Mail-Server", level: "B" }],
  grundschutzPlusPlus: [
    { id: "KONF.13.1.1", title: "SPAM-Filter", uuid: "ee57e250-bed1-484e-9ff7-8b7750562877", level: "normal-SdT" },
    { id: "DLS.2.3", title: "Vollverschlüsselung", uuid: "30a1e505-c2a4-44d9-8c8e-6584142d5d64", level: "erhöht" },
  ],
};
