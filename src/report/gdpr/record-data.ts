import type { Answer } from "../../answers/model.ts";
import { QUESTIONS } from "../../answers/questions/index.ts";
import { LAW } from "./data/law.ts";
import type { Material } from "./material.ts";
import { answerOf } from "./statements.ts";

/** The record of processing as data: OSCAL has no fields for it. What is open is null. */
export interface RecordData {
  readonly lawDate: string;
  readonly variants: readonly ("30(1)" | "30(2)")[];
  readonly answers: Readonly<Record<string, Pick<Answer, "by" | "date" | "rows"> | null>>;
}

export function recordData(material: Material): RecordData {
  const role = answerOf(material, "Q01")?.rows[0]?.role ?? null;
  const variants = [
    ...(role === "controller" || role === "both" ? (["30(1)"] as const) : []),
    ...(role === "controller" ? [] : (["30(2)"] as const)),
  ];
  const answers = QUESTIONS.map(({ id }) => {
    const answer = answerOf(material, id);
    return [id, answer ? { by: answer.by, date: answer.date, rows: answer.rows } : null] as const;
  });
  return { lawDate: LAW.date, variants, answers: Object.fromEntries(answers) };
}
