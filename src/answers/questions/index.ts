import type { Text } from "../../audit/model.ts";
import type { AnswersKind, Question, Topic } from "../model.ts";
import { CLIENT } from "./client.ts";
import { MAIL } from "./mail.ts";
import { OFFICE } from "./office.ts";

/** All 42, in the order of their numbers. */
export const QUESTIONS: readonly Question[] = [...CLIENT, ...MAIL, ...OFFICE].sort((a, b) => (a.id < b.id ? -1 : 1));

const BY_ID = new Map(QUESTIONS.map((question) => [question.id, question]));

/** Throws for a number that is none: papers name their questions in constants. */
export function question(id: string): Question {
  const found = BY_ID.get(id);
  if (!found) throw new Error(`no question ${id}`);
  return found;
}

export function questionsOf(kind: AnswersKind): readonly Question[] {
  return QUESTIONS.filter((question) => question.kind === kind);
}

export const TOPICS: Readonly<Record<Topic, Text>> = {
  parties: { de: "Parteien und Rollen", en: "Parties and roles" },
  data: { de: "Daten", en: "Data" },
  reception: { de: "Empfang", en: "Reception" },
  sending: { de: "Versand", en: "Sending" },
  transport: { de: "Transport", en: "Transport" },
  spam: { de: "Spam und Schadsoftware", en: "Spam and malware" },
  storage: { de: "Lagerung", en: "Storage" },
  attachments: { de: "Anhänge", en: "Attachments" },
  deletion: { de: "Löschung", en: "Deletion" },
  organisation: { de: "Organisation", en: "Organisation" },
  joint: { de: "Gemeinsame Kenntnis", en: "Joint knowledge" },
};
