import type { Text } from "../../audit/model.ts";
import type { Field } from "../model.ts";

type Options = Pick<Field, "optional" | "example" | "after">;

export const t = (de: string, en: string): Text => ({ de, en });

export const text = (key: string, de: string, en: string, options: Options = {}): Field => ({
  key,
  label: { de, en },
  type: "text",
  ...options,
});

export const yesNo = (key: string, de: string, en: string, options: Options = {}): Field => ({
  key,
  label: { de, en },
  type: "yes-no",
  ...options,
});

export const date = (key: string, de: string, en: string, options: Options = {}): Field => ({
  key,
  label: { de, en },
  type: "date",
  ...options,
});

export const choice = (
  key: string,
  label: Text,
  choices: Readonly<Record<string, Text>>,
  options: Options = {},
): Field => ({
  key,
  label,
  type: "choice",
  choices: Object.entries(choices).map(([value, label]) => ({ value, label })),
  ...options,
});

export const optional = { optional: true } as const;

/** Optional, and of interest only when the `yes-no` of that key was a yes. */
export const after = (key: string) => ({ optional: true, after: key }) as const;
