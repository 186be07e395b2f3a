import { CHECKS } from "../audit/checks/index.ts";
import type { AuditDocument, AuditSample, CheckOutcome, Lang, Remark, State, Text, Value } from "../audit/model.ts";
import { sentenceOf } from "../audit/verdict.ts";
import type { Palette } from "./tree-text.ts";
import { humanSize, printable } from "./units.ts";

const STATES: Readonly<Record<State, Text>> = {
  fail: { de: "MANGEL", en: "FAIL" },
  unknown: { de: "UNBESTIMMT", en: "UNKNOWN" },
  warn: { de: "HINWEIS", en: "WARN" },
  pass: { de: "erfüllt", en: "pass" },
  "n-a": { de: "entfällt", en: "n-a" },
};
/** What needs somebody comes first. */
const ORDER: readonly State[] = ["fail", "unknown", "warn", "pass", "n-a"];
const HOST: Text = { de: "Host", en: "host" };
const WHAT_TO_DO: Text = { de: "Abhilfe", en: "what to do" };

/** A run for a person: failing checks first, each with what was found. */
export function auditText(doc: AuditDocument, lang: Lang, p: Palette): string {
  const width = Math.max(...Object.values(STATES).map((t) => t[lang].length));
  const sorted = ORDER.flatMap((state) => doc.checks.filter((c) => c.state === state));
  const blocks = sorted.map((c) => outcomeText(c, lang, p, width));
  const samples = (doc.samples ?? []).map((sample) => sampleText(sample, lang, p, width));
  return `${[...blocks, ...samples, summary(doc, lang, p)].join("\n")}\n`;
}

function outcomeText(outcome: CheckOutcome, lang: Lang, p: Palette, width: number): string {
  const check = CHECKS.find((c) => c.id === outcome.id);
  const subject = outcome.guest === null ? HOST[lang] : printable(outcome.guest);
  const head = `${coloured(outcome.state, STATES[outcome.state][lang].padEnd(width), p)}  ${outcome.id.padEnd(8)} ${check?.title[lang] ?? ""} · ${p.bold(subject)}`;
  const indent = " ".repeat(width + 2);
  // A finding is told with what is right beside it only where nothing is wrong.
  const told = outcome.remarks.filter((r) => r.state === outcome.state || (r.state !== "pass" && r.state !== "n-a"));
  const lines = told.map((r) => `${indent}${remarkText(outcome.id, r, lang)}`);
  const open = outcome.state === "fail" || outcome.state === "warn";
  if (open && check) lines.push(p.dim(`${indent}${WHAT_TO_DO[lang]}: ${check.remedy[lang]}`));
  return [head, ...lines].join("\n");
}

const SAMPLED: Text = { de: "Stichprobe", en: "sample" };
const FOUND: Readonly<Record<NonNullable<AuditSample["finding"]>, Text>> = {
  random: {
    de: "Was gespeichert ist, ist von Zufall nicht zu unterscheiden und ein anderes als das Entschlüsselte ({numbers}).",
    en: "What is stored cannot be told from random bytes, and is not what is decrypted ({numbers}).",
  },
  structured: {
    de: "Was gespeichert ist, ist kein Zufall ({numbers}): Das ist keine wirksame Verschlüsselung.",
    en: "What is stored is not random ({numbers}): that is no working encryption.",
  },
  same: {
    de: "Was gespeichert ist, ist der Klartext selbst ({numbers}).",
    en: "What is stored is the very plaintext ({numbers}).",
  },
  unopened: {
    de: "Was gespeichert ist, ist von Zufall nicht zu unterscheiden ({numbers}). Nicht feststellbar, was es entschlüsselt ergibt: Es wurde kein Schlüssel dafür gegeben (--key-file).",
    en: "What is stored cannot be told from random bytes ({numbers}). Cannot be determined what it is decrypted to: no key for it was given (--key-file).",
  },
  empty: { de: "An den gelesenen Stellen wurde nie geschrieben.", en: "Nothing was ever written where it was read." },
  few: {
    de: "Nicht feststellbar: Zu wenig davon ist beschrieben ({numbers}).",
    en: "Cannot be determined: too little of it was written to ({numbers}).",
  },
};
const UNREAD: Text = { de: "Nicht feststellbar: {reason}.", en: "Cannot be determined: {reason}." };

function sampleText(sample: AuditSample, lang: Lang, p: Palette, width: number): string {
  const { state, mapping, finding, reason, bytes, chiSquare, equalShare } = sample;
  const chi = chiSquare === null ? "" : `, χ² = ${chiSquare} (255)`;
  const equal = equalShare === null ? "" : `, ${(equalShare * 100).toFixed(2)} % =`;
  const sentence = finding === null ? UNREAD : FOUND[finding];
  const text = sentence[lang]
    .replace("{numbers}", `${humanSize(bytes)}${chi}${equal}`)
    .replace("{reason}", printable(reason ?? ""));
  const head = `${coloured(state, STATES[state][lang].padEnd(width), p)}  ${SAMPLED[lang].padEnd(8)} ${p.bold(printable(mapping))}`;
  return `${head}\n${" ".repeat(width + 2)}${text}`;
}

/** The remark's sentence with its values in place. */
export function remarkText(id: string, { code, values }: Remark, lang: Lang): string {
  const check = CHECKS.find((c) => c.id === id);
  const sentence = check ? sentenceOf(check, code) : null;
  if (sentence === null) return printable(code);
  return sentence[lang].replace(/\{(\w+)\}/g, (all, name: string) =>
    Object.hasOwn(values, name) ? printable(valueText(values[name]!)) : all,
  );
}

function valueText({ kind, value }: Value): string {
  return kind === "bytes" && typeof value === "number" ? humanSize(value) : String(value);
}

function summary(doc: AuditDocument, lang: Lang, p: Palette): string {
  const counts = ORDER.flatMap((state) => {
    const n = doc.checks.filter((c) => c.state === state).length;
    return n === 0 ? [] : [coloured(state, `${n} ${STATES[state][lang]}`, p)];
  });
  const name = doc.host.name === null ? "" : ` · ${printable(doc.host.name)}`;
  return `\n${doc.run}${name} · ${counts.join(" · ")}`;
}

function coloured(state: State, text: string, p: Palette): string {
  if (state === "fail") return p.red(text);
  if (state === "pass") return p.green(text);
  return state === "n-a" ? p.dim(text) : p.yellow(text);
}
