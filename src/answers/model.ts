import type { Lang, Text } from "../audit/model.ts";

/** One office has many clients: what holds for all of them is asked once. */
export type AnswersKind = "office" | "client";

/** One blank of a question. */
export interface Field {
  /** As it stands in the file: lower case, digits, `-`. */
  readonly key: string;
  readonly label: Text;
  /** `text` is any text, `date` is YYYY-MM-DD, `yes-no` is `yes` or `no`. */
  readonly type: "text" | "yes-no" | "date" | "choice";
  readonly choices?: readonly { readonly value: string; readonly label: Text }[];
  /** Without it the question still counts as answered. */
  readonly optional?: true;
  /** What an answer may look like. */
  readonly example?: Text;
  /** The key of a `yes-no` before it: it is asked for only after a yes. */
  readonly after?: string;
}

/** One of the 42 questions; the number stays for ever. */
export interface Question {
  /** `Q01` */
  readonly id: string;
  readonly kind: AnswersKind;
  readonly topic: Topic;
  /** How the papers name it. */
  readonly title: Text;
  readonly ask: Text;
  readonly fields: readonly Field[];
  /** The answer is a list of such records. */
  readonly many?: true;
}

export type Topic =
  | "parties"
  | "data"
  | "reception"
  | "sending"
  | "transport"
  | "spam"
  | "storage"
  | "attachments"
  | "deletion"
  | "organisation"
  | "joint";

export type Fields = Readonly<Record<string, string | null>>;

/** What somebody declared on a date. */
export interface Answer {
  readonly id: string;
  readonly by: string;
  /** YYYY-MM-DD */
  readonly date: string;
  /** One record; several of a question that asks for many. `null`: left empty. */
  readonly rows: readonly Fields[];
  /** Something that is not optional was left empty. */
  readonly partial: boolean;
}

export interface Answers {
  readonly kind: AnswersKind;
  readonly language: Lang;
  /** Of a client: the guests that hold its data; null: all of the host. */
  readonly guests: readonly string[] | null;
  /** By question; who has not answered is not in it. */
  readonly given: Readonly<Record<string, Answer>>;
}

/** What is wrong in a file of answers, and where. */
export interface Problem {
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** `Q11.rows[2].country` */
  readonly field: string;
  readonly message: string;
}
