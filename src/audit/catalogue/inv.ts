import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const INV_01: CatalogueEntry = {
  id: "INV-01",
  title: { de: "Host-, Werkzeug- und Zeitstand", en: "Host, tool versions, clock" },
  letters: ["d"],
  sdm: { goal: "Transparenz", measures: ["M42.S01", "M43.D01"] },
  itGrundschutz: [
    { id: "OPS.1.1.5.A4", title: "Zeitsynchronisation der IT-Systeme", level: "B" },
    { id: "SYS.1.5.A7", title: "Zeitsynchronisation in virtuellen IT-Systemen", level: "B" },
  ],
  grundschutzPlusPlus: [
    { id: "KONF.4.5", title: "Zeitquellen", uuid: "92eee157-2b9b-4a80-8f17-4b124590d72f", level: "normal-SdT" },
    {
      id: "ASST.2.2",
      title: "Inventar der Systeme",
      uuid: "b10fc10c-a3be-4b30-977a-6a2d020760d6",
      level: "normal-SdT",
    },
  ],
};
export const INV_02: CatalogueEntry = {
  id: "INV-02",
  title: { de: "Gäste-Inventar gegen erklärten Geltungsbereich", en: "Guest inventory vs declared scope" },
  letters: ["b", "d"],
  sdm: { goal: "Transparenz", measures: ["M42.S01", "M51.D04"] },
  itGrundschutz: [
    {
      id: "SYS.1.5.A17",
      title: "Überwachung des Betriebszustands und der Konfiguration der virtuellen Infrastruktur",
      level: "S",
    },
  ],
  grundschutzPlusPlus: [
    {
      id: "ASST.2.2",
      title: "Inventar der Systeme",
      uuid: "b10fc10c-a3be-4b30-977a-6a2d020760d6",
      level: "normal-SdT",
    },
    {
      id: "ASST.2.1",
      title: "Inventar der Informationen",
      uuid: "c07f7e22-1641-41e2-a29c-f1180ff9f601",
      level: "normal-SdT",
    },
  ],
};
