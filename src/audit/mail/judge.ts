import type { Remark } from "../model.ts";
import { remark, value } from "../verdict.ts";
import type { MailFacts } from "./facts.ts";

/** Remarks where nothing was read; null: it was. */
export function notRead({ problem }: MailFacts): Remark[] | null {
  if (problem === null) return null;
  if (problem.kind === "not-mail") return [remark("n-a", "not-mail")];
  if (problem.kind === "not-asked") return [remark("unknown", "not-asked")];
  return [remark("unknown", "unreadable", { reason: value.text(problem.why) })];
}

export const MAIL_SENTENCES = {
  "not-mail": {
    de: "Laut Erklärung verarbeitet dieser Gast keine Mails.",
    en: "It is declared that this guest does not process mail.",
  },
  "not-asked": {
    de: "Nicht gemessen: Die Mail-Konfiguration im Gast wird nur auf Wunsch gelesen (`--mail vm:NAME`, oder `mail` in der Erklärungsdatei).",
    en: "Not measured: the mail configuration inside the guest is read only when asked for (`--mail vm:NAME`, or `mail` in the scope file).",
  },
  unreadable: {
    de: "Nicht feststellbar: Die Konfiguration im Gast ist nicht lesbar ({reason}).",
    en: "Cannot be determined: the configuration inside the guest cannot be read ({reason}).",
  },
} as const;
