import type { Lang, Remark, Text, Value } from "../../audit/model.ts";
import { sentenceOf } from "../../audit/verdict.ts";
import { printable } from "../../bytes/text.ts";
import type { CheckInfo } from "./material.ts";
import type { Origin, Run, Sentence } from "./model.ts";

/** Longest value that a paper repeats: a hostile guest's name may be long. */
const LONGEST = 1000;
/** Not allowed in XML 1.0 (2.2 Char), even escaped; Typst and browsers do not want them either. */
const NO_CHARACTER = /[\p{Cs}\ufffe\uffff]/gu;

/** Text from a host or a form made fit for every format: one line, no control characters, nothing that turns the direction of writing. */
export function clean(text: string): string {
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return printable(short.replace(/\s*[\r\n\u2028\u2029]+\s*/g, " ").replace(/\t/g, " ")).replace(
    NO_CHARACTER,
    "\ufffd",
  );
}

export function plain(text: string): Run {
  return { text };
}

export function valueRun(value: Value, lang: Lang): Run {
  return { text: clean(formatted(value, lang)), kind: value.kind };
}

/** A value of our own making. */
export function kinded(kind: Value["kind"], text: string): Run {
  return { text: clean(text), kind };
}

export function mono(text: string): Run {
  return { text: clean(text), mono: true };
}

function formatted({ kind, value }: Value, lang: Lang): string {
  if (kind === "date") return moment(String(value));
  if (kind === "bytes" && typeof value === "number") return bytes(value, lang);
  return String(value);
}

/** `2026-11-24 10:02 UTC` of RFC 3339; a day stays as it is. */
export function moment(rfc3339: string): string {
  const match = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})/.exec(rfc3339);
  return match ? `${match[1]} ${match[2]} UTC` : clean(rfc3339);
}

function bytes(n: number, lang: Lang): string {
  const units = ["Byte", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let size = n;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  const digits = String(Math.round(size * 10) / 10);
  return `${lang === "de" ? digits.replace(".", ",") : digits} ${lang === "en" && unit === 0 ? "bytes" : units[unit]}`;
}

/** Our own text: what stands in backticks is a command or a name. */
export function prose(text: string): readonly Run[] {
  const parts = text.split("`");
  // An odd one is no pair: better visible than half of the text in the wrong letters.
  if (parts.length % 2 === 0) return [{ text }];
  return parts.flatMap((part, i): Run[] =>
    part === "" ? [] : [i % 2 === 0 ? { text: part } : { text: part, mono: true }],
  );
}

/** A sentence of a check with its values. A name without a value stays visible: it is a defect, and no claim. */
export function fill(template: Text, values: Readonly<Record<string, Value>>, lang: Lang): readonly Run[] {
  const parts = template[lang].split(/\{([\w-]+)\}/);
  return parts.flatMap((part, i): readonly Run[] => {
    if (i % 2 === 0) return part === "" ? [] : prose(part);
    const value = Object.hasOwn(values, part) ? values[part] : undefined;
    return [value ? valueRun(value, lang) : { text: `{${part}}` }];
  });
}

/** What a check found, in words; its code where the check's words are not known. */
export function remarkRuns(info: CheckInfo | null, remark: Remark, lang: Lang): readonly Run[] {
  const template = info && sentenceOf(info, remark.code);
  return template ? fill(template, remark.values, lang) : [mono(remark.code)];
}

export function sentence(runs: readonly Run[] | string, origin: Origin | null = null): Sentence {
  return { runs: typeof runs === "string" ? [plain(runs)] : runs, origin };
}

const MARKS: Readonly<Record<Lang, Readonly<Record<Origin["mark"], string>>>> = {
  de: { measured: "G", declared: "E", open: "O" },
  en: { measured: "M", declared: "D", open: "O" },
};

/** `[G ENC-01, 2026-11-24 10:02 UTC]` */
export function markText(origin: Origin, lang: Lang): string {
  const mark = MARKS[lang][origin.mark];
  switch (origin.mark) {
    case "measured":
      return `[${mark} ${origin.checks.join(", ")}, ${moment(origin.at)}]`;
    case "declared":
      return `[${mark} ${clean(origin.by)}, ${origin.date}, ${origin.question}]`;
    case "open":
      return `[${mark} ${origin.about}]`;
  }
}
