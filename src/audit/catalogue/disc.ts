import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const DISC_01: CatalogueEntry = {
  id: "DISC-01",
  title: { de: "Discard-Kette und Trägertyp", en: "Discard chain and media type" },
  letters: ["a"],
  sdm: { goal: "Vertraulichkeit", measures: ["M60.P10"] },
  itGrundschutz: [{ id: "CON.1.A11", title: "Sichere Konfiguration der Kryptomodule", level: "H" }],
  grundschutzPlusPlus: [
    {
      id: "KONF.2.1",
      title: "Grundkonfiguration für Systeme",
      uuid: "8bd05aba-b395-43cf-a38e-f4e8656df7c4",
      level: "normal-SdT",
    },
  ],
};
