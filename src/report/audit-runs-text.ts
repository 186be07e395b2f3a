import type { Lang, Text } from "../audit/model.ts";
import type { AuditDiffDocument, AuditListDocument, AuditVerifyDocument } from "../usecases/audit-documents.ts";
import type { Palette } from "./tree-text.ts";
import { humanSize, printable } from "./units.ts";

/** What `audit verify` found, for a person. */
export function verifyText(doc: AuditVerifyDocument, p: Palette): string {
  const lines = doc.runs.flatMap(({ run, sha256, signature, problems }) => {
    const signed = {
      none: "not signed",
      good: "signature good",
      bad: "SIGNATURE BAD",
      "not-checked": "signature not checked",
    };
    const state = problems.length === 0 ? p.green("as made ") : p.red("CHANGED ");
    return [
      `${state} ${run}  ${p.dim(sha256.slice(0, 16))}  ${signed[signature]}`,
      ...problems.map((x) => `         ${printable(x)}`),
    ];
  });
  const chain = doc.chain.map((x) => `${p.red("CHAIN   ")} ${printable(x)}`);
  const none = doc.runs.length === 0 && chain.length === 0 ? ["no audit was kept yet"] : [];
  return `${[...none, ...lines, ...chain].join("\n")}\n`;
}

export function listText(doc: AuditListDocument, p: Palette): string {
  if (doc.runs.length === 0) return "no audit was kept yet\n";
  const lines = doc.runs.map(({ run, host, recorded, state, bytes, signed }) => {
    const marks = [recorded ? "recorded" : null, signed ? "signed" : null].filter((m) => m !== null).join(", ");
    return `${run}  ${(state ?? "unreadable").padEnd(10)}  ${humanSize(bytes).padStart(9)}  ${printable(host ?? "")}${marks === "" ? "" : p.dim(` (${marks})`)}`;
  });
  return `${lines.join("\n")}\n${doc.runs.length} runs, ${humanSize(doc.bytes)}\n`;
}

const SAME: Text = { de: "Seit {run} hat sich nichts geändert.", en: "Nothing changed since {run}." };
const CHANGED: Text = { de: "Geändert seit {run}:", en: "Changed since {run}:" };
const POLICY: Text = { de: "Richtlinie", en: "policy" };
const GUEST: Text = { de: "Gast", en: "guest" };

/** What changed from one run to the other. */
export function diffText(doc: AuditDiffDocument, lang: Lang, p: Palette): string {
  const arrow = (a: string | null, b: string | null) => `${a ?? "-"} → ${b ?? "-"}`;
  const lines = [
    ...doc.checks.map((c) => `${c.id.padEnd(8)} ${printable(c.guest ?? "host")}: ${arrow(c.before, c.after)}`),
    ...doc.guests.map((g) => `${GUEST[lang]} ${printable(g.name)}: ${g.change}`),
    ...doc.disks.map(({ guest, target, before, after }) => {
      const told = (d: typeof before) => (d === null ? null : `${printable(d.place)} (${d.encrypted})`);
      return `${printable(guest)} ${printable(target)}: ${arrow(told(before), told(after))}`;
    }),
    ...(doc.policy === null ? [] : [`${POLICY[lang]}: ${arrow(doc.policy.before, doc.policy.after)}`]),
  ];
  const head = (lines.length === 0 ? SAME : CHANGED)[lang].replace("{run}", printable(doc.before));
  return `\n${p.bold(head)}\n${lines.map((l) => `  ${l}\n`).join("")}`;
}
