import type { CatalogueEntry } from "./entry.ts";

/** What the catalogues say of these checks: ids and titles, never their texts. */
export const NET_01: CatalogueEntry = {
  id: "NET-01",
  title: { de: "Ausgehend: Standard verbieten", en: "Egress default deny" },
  letters: ["b"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.S08"] },
  itGrundschutz: [
    { id: "SYS.1.1.A19", title: "Einrichtung lokaler Paketfilter", level: "S" },
    { id: "SYS.1.5.A4", title: "Sichere Konfiguration eines Netzes für virtuelle Infrastrukturen", level: "B" },
    { id: "NET.3.2.A3", title: "Einrichten geeigneter Filterregeln am Paketfilter", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "ARCH.5.1",
      title: "Einschränkung und Inspektion von Verbindungen",
      uuid: "025c298a-7c8d-441d-b9d5-a1422556c6e1",
      level: "normal-SdT",
    },
    { id: "ARCH.2.3", title: "Mikrosegmentierung", uuid: "193a28ca-0382-4998-874d-4c08b6326f26", level: "erhöht" },
  ],
};
export const NET_02: CatalogueEntry = {
  id: "NET-02",
  title: { de: "Erlaubte Gegenstellen = Erklärung", en: "Allowed peers equal declaration" },
  letters: ["b"],
  sdm: { goal: "Nichtverkettung", measures: ["M51.S08", "M51.S07"] },
  itGrundschutz: [
    { id: "SYS.1.1.A19", title: "Einrichtung lokaler Paketfilter", level: "S" },
    { id: "NET.3.2.A2", title: "Festlegen der Firewall-Regeln", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "ARCH.5.1",
      title: "Einschränkung und Inspektion von Verbindungen",
      uuid: "025c298a-7c8d-441d-b9d5-a1422556c6e1",
      level: "normal-SdT",
    },
  ],
};
export const NET_03: CatalogueEntry = {
  id: "NET-03",
  title: { de: "IPv6-Gleichstand", en: "IPv6 parity" },
  letters: ["b"],
  sdm: { goal: "Vertraulichkeit", measures: ["M51.S08"] },
  itGrundschutz: [{ id: "NET.3.2.A17", title: "Deaktivierung von IPv4 oder IPv6", level: "S" }],
  grundschutzPlusPlus: [
    {
      id: "ARCH.2.2.9",
      title: "Segmentierung von IPv4 und IPv6",
      uuid: "dabbb234-5678-456b-8db4-4c7ac9ed1e12",
      level: "normal-SdT",
    },
  ],
};
export const NET_04: CatalogueEntry = {
  id: "NET-04",
  title: { de: "Absenderfälschung unterbunden", en: "Anti-spoofing" },
  letters: ["b"],
  sdm: { goal: "Integrität", measures: ["M51.S08"] },
  itGrundschutz: [
    { id: "SYS.1.5.A4", title: "Sichere Konfiguration eines Netzes für virtuelle Infrastrukturen", level: "B" },
  ],
  grundschutzPlusPlus: [
    {
      id: "ARCH.5.1.2",
      title: "Netzbasierte Angriffe",
      uuid: "09d37d0c-fda7-4f38-9aa6-f8cbae7d878d",
      level: "normal-SdT",
    },
  ],
};
