import type { Text } from "../../../audit/model.ts";

const t = (de: string, en: string): Text => ({ de, en });

/** The 17 examples in annex III of Commission Implementing Decision (EU) 2021/915. */
export const SCC_HEADINGS: readonly Text[] = [
  t(
    "Maßnahmen der Pseudonymisierung und Verschlüsselung personenbezogener Daten",
    "Measures of pseudonymisation and encryption of personal data",
  ),
  t(
    "Maßnahmen zur fortdauernden Sicherstellung der Vertraulichkeit, Integrität, Verfügbarkeit und Belastbarkeit der Systeme und Dienste im Zusammenhang mit der Verarbeitung",
    "Measures for ensuring ongoing confidentiality, integrity, availability and resilience of processing systems and services",
  ),
  t(
    "Maßnahmen zur Sicherstellung der Fähigkeit, die Verfügbarkeit der personenbezogenen Daten und den Zugang zu ihnen bei einem physischen oder technischen Zwischenfall rasch wiederherzustellen",
    "Measures for ensuring the ability to restore the availability and access to personal data in a timely manner in the event of a physical or technical incident",
  ),
  t(
    "Verfahren zur regelmäßigen Überprüfung, Bewertung und Evaluierung der Wirksamkeit der technischen und organisatorischen Maßnahmen zur Gewährleistung der Sicherheit der Verarbeitung",
    "Processes for regularly testing, assessing and evaluating the effectiveness of technical and organisational measures in order to ensure the security of the processing",
  ),
  t("Maßnahmen zur Identifizierung und Autorisierung der Nutzer", "Measures for user identification and authorisation"),
  t(
    "Maßnahmen zum Schutz der Daten während der Übermittlung",
    "Measures for the protection of data during transmission",
  ),
  t("Maßnahmen zum Schutz der Daten während der Speicherung", "Measures for the protection of data during storage"),
  t(
    "Maßnahmen zur Gewährleistung der physischen Sicherheit von Orten, an denen personenbezogene Daten verarbeitet werden",
    "Measures for ensuring physical security of locations at which personal data are processed",
  ),
  t("Maßnahmen zur Gewährleistung der Protokollierung von Ereignissen", "Measures for ensuring events logging"),
  t(
    "Maßnahmen zur Gewährleistung der Systemkonfiguration, einschließlich der Standardkonfiguration",
    "Measures for ensuring system configuration, including default configuration",
  ),
  t(
    "Maßnahmen für die interne Governance und Verwaltung der IT und der IT-Sicherheit",
    "Measures for internal IT and IT security governance and management",
  ),
  t(
    "Maßnahmen zur Zertifizierung/Qualitätssicherung von Prozessen und Produkten",
    "Measures for certification/assurance of processes and products",
  ),
  t("Maßnahmen zur Gewährleistung der Datenminimierung", "Measures for ensuring data minimisation"),
  t("Maßnahmen zur Gewährleistung der Datenqualität", "Measures for ensuring data quality"),
  t(
    "Maßnahmen zur Gewährleistung einer begrenzten Vorratsdatenspeicherung",
    "Measures for ensuring limited data retention",
  ),
  t("Maßnahmen zur Gewährleistung der Rechenschaftspflicht", "Measures for ensuring accountability"),
  t(
    "Maßnahmen zur Ermöglichung der Datenübertragbarkeit und zur Gewährleistung der Löschung",
    "Measures for allowing data portability and ensuring erasure",
  ),
];

/** One of the eight controls of the former German law (annex to § 9 BDSG until 2018), and where else the same is asked for. */
export interface CrossRow {
  readonly control: Text;
  /** Chapter of the newer layout, as this annex has it. */
  readonly layout: Text;
  /** Numbers in `SCC_HEADINGS`, from 1. */
  readonly scc: readonly number[];
  readonly sdm: Text;
  readonly checks: readonly string[];
  readonly questions: readonly string[];
}

const CONFIDENTIALITY = t("Vertraulichkeit", "Confidentiality");
const AVAILABILITY = t("Verfügbarkeit", "Availability");
const TRANSPARENCY = t("Transparenz", "Transparency");

export const CROSSWALK: readonly CrossRow[] = [
  {
    control: t("Zutrittskontrolle", "Physical access control"),
    layout: t("3 Vertraulichkeit", "3 Confidentiality"),
    scc: [8],
    sdm: CONFIDENTIALITY,
    checks: [],
    questions: ["Q32"],
  },
  {
    control: t("Zugangskontrolle", "System access control"),
    layout: t("2, 3 Verschlüsselung, Vertraulichkeit", "2, 3 Encryption, confidentiality"),
    scc: [1, 5, 7, 10],
    sdm: CONFIDENTIALITY,
    checks: ["ENC-01", "ENC-02", "ENC-03", "ENC-04", "ENC-05", "ENC-06", "KEY-01", "KEY-02", "KEY-04", "PERM-02"],
    questions: ["Q24", "Q33", "Q37"],
  },
  {
    control: t("Zugriffskontrolle", "Data access control"),
    layout: t("2, 3 Verschlüsselung, Vertraulichkeit", "2, 3 Encryption, confidentiality"),
    scc: [5, 7],
    sdm: CONFIDENTIALITY,
    checks: ["PERM-01", "LEAK-01", "LEAK-02", "LEAK-03", "LEAK-04", "LEAK-05", "LEAK-06", "DISC-01", "BAK-02"],
    questions: ["Q25", "Q26"],
  },
  {
    control: t("Weitergabekontrolle", "Transfer control"),
    layout: t("4 Integrität", "4 Integrity"),
    scc: [6, 13],
    sdm: t("Vertraulichkeit, Integrität, Nichtverkettung", "Confidentiality, integrity, unlinkability"),
    checks: ["NET-01", "NET-02", "NET-03", "NET-04", "MAIL-02", "MAIL-03", "DEL-01", "DEL-02"],
    questions: ["Q13", "Q15", "Q16", "Q17", "Q18", "Q19", "Q20", "Q21", "Q30", "Q38"],
  },
  {
    control: t("Eingabekontrolle", "Input control"),
    layout: t("4 Integrität", "4 Integrity"),
    scc: [9, 14, 16],
    sdm: t("Integrität, Transparenz", "Integrity, transparency"),
    checks: ["GOV-02"],
    questions: [],
  },
  {
    control: t("Auftragskontrolle", "Instruction control"),
    layout: t("6 Prüfung und Bewertung", "6 Testing and evaluation"),
    scc: [4, 11, 12, 16],
    sdm: TRANSPARENCY,
    checks: ["INV-01", "INV-02", "GOV-01"],
    questions: ["Q04", "Q34", "Q35", "Q36", "Q40"],
  },
  {
    control: t("Verfügbarkeitskontrolle", "Availability control"),
    layout: t("5 Verfügbarkeit, Belastbarkeit, Wiederherstellung", "5 Availability, resilience, recovery"),
    scc: [2, 3],
    sdm: AVAILABILITY,
    checks: ["BAK-01", "BAK-03", "BAK-04", "ENC-07", "KEY-03"],
    questions: ["Q39"],
  },
  {
    control: t("Trennungskontrolle", "Separation control"),
    layout: t("3 Vertraulichkeit", "3 Confidentiality"),
    scc: [2, 13],
    sdm: t("Nichtverkettung", "Unlinkability"),
    checks: ["PERM-03", "PERM-04", "LEAK-07", "MAIL-01"],
    questions: ["Q22", "Q23"],
  },
  {
    control: t("(neu) Löschung und Rückgabe", "(new) Erasure and return"),
    layout: t("7 Löschung, Rückgabe, Unterstützung", "7 Erasure, return, assistance"),
    scc: [15, 17],
    sdm: t("Intervenierbarkeit, Datenminimierung", "Intervenability, data minimisation"),
    checks: ["DEL-01", "DEL-02"],
    questions: ["Q27", "Q28", "Q29", "Q30", "Q31"],
  },
];
