import * as v from "valibot";
import type { AnswersKind, Field, Question } from "./model.ts";
import { questionsOf } from "./questions/index.ts";

/** Longest answer to one blank, in characters: a paragraph. */
const LONGEST = 2000;
const LONGEST_NAME = 200;
const MOST_ROWS = 200;
const MOST_GUESTS = 200;
export const SCHEMA = "unterbau/answers/1";

const YES_NO: Readonly<Record<string, "yes" | "no">> = {
  yes: "yes",
  ja: "yes",
  true: "yes",
  no: "no",
  nein: "no",
  false: "no",
};

/** A blank that was left empty is null. */
const blank = v.pipe(
  v.string("a single value is wanted here, no list or group"),
  v.transform((value) => value.trim()),
  v.maxLength(LONGEST, `longer than ${LONGEST} characters`),
);

function empty(value: string): boolean {
  return value === "" || value === "null" || value === "~";
}

const text = v.pipe(
  blank,
  v.transform((value) => (empty(value) ? null : value)),
);

/** A day that the calendar has, as YYYY-MM-DD. */
export function isDay(value: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(value)) return false;
  const time = Date.parse(`${value}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(value);
}

const day = v.pipe(
  text,
  v.check((value) => value === null || isDay(value), "a date is wanted: YYYY-MM-DD"),
);

const yesNo = v.pipe(
  text,
  v.check((value) => value === null || value.toLowerCase() in YES_NO, "yes or no is wanted"),
  v.transform((value) => (value === null ? null : YES_NO[value.toLowerCase()]!)),
);

function oneOf(values: readonly string[]) {
  return v.pipe(
    text,
    v.check((value) => value === null || values.includes(value), `one of these is wanted: ${values.join(", ")}`),
  );
}

function fieldSchema(field: Field): v.GenericSchema<string, string | null> {
  switch (field.type) {
    case "text":
      return text;
    case "date":
      return day;
    case "yes-no":
      return yesNo;
    case "choice":
      return oneOf((field.choices ?? []).map((choice) => choice.value));
  }
}

function fieldsOf(question: Question) {
  return Object.fromEntries(question.fields.map((field) => [field.key, v.optional(fieldSchema(field), "")]));
}

const who = { by: v.optional(text, ""), date: v.optional(day, "") };

function questionSchema(question: Question): v.GenericSchema {
  const fields = fieldsOf(question);
  const record = question.many
    ? v.strictObject({
        ...who,
        rows: v.optional(
          v.union(
            [
              v.pipe(v.array(v.strictObject(fields)), v.maxLength(MOST_ROWS, `more than ${MOST_ROWS} rows`)),
              v.pipe(
                v.literal(""),
                v.transform(() => []),
              ),
            ],
            (issue) =>
              Array.isArray(issue.input) ? "a row is not understood" : "a list is wanted, each row with a dash",
          ),
          "",
        ),
      })
    : v.strictObject({ ...who, ...fields });
  // A question that was left out or emptied is not answered.
  return v.optional(
    v.union([record, v.literal("")], () => "a group of values is wanted, each on a line of its own"),
    "",
  );
}

/** All values are strings before this (YAML's failsafe schema): `1.10` stays as it was written. */
export function answersSchema(kind: AnswersKind): v.GenericSchema {
  const questions = Object.fromEntries(questionsOf(kind).map((question) => [question.id, questionSchema(question)]));
  const guests = v.optional(
    v.union(
      [
        v.pipe(
          v.array(v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(LONGEST_NAME))),
          v.maxLength(MOST_GUESTS, `more than ${MOST_GUESTS} guests`),
        ),
        v.literal(""),
      ],
      "a list of guests' names is wanted",
    ),
    "",
  );
  const all = {
    schema: v.literal(SCHEMA, `schema must be ${SCHEMA}`),
    file: v.literal(kind, `file must be ${kind}`),
    language: v.picklist(["de", "en"], "language must be de or en"),
    ...(kind === "client" ? { guests } : {}),
    ...questions,
  };
  return v.strictObject(all as v.ObjectEntries);
}
