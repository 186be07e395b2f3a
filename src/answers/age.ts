import type { Answer } from "./model.ts";

/** How long a declaration holds without being confirmed. Our judgment: the yearly review that authorities recommend. */
export const DECLARATION_MONTHS = 12;

/** What a declaration is worth on a day. `aged`: older than the policy allows. */
export type Standing = "current" | "aged" | "partial" | "open";

/** `now` is RFC 3339, `months` how long a declaration holds. */
export function standingOf(answer: Answer | undefined, now: string, months: number): Standing {
  if (!answer) return "open";
  if (addMonths(answer.date, months) < now.slice(0, 10)) return "aged";
  return answer.partial ? "partial" : "current";
}

/** The same day so many months later, YYYY-MM-DD; the last day of a month that is too short. */
export function addMonths(day: string, months: number): string {
  const [year = 0, month = 1, dayOfMonth = 1] = day.slice(0, 10).split("-").map(Number);
  const first = new Date(Date.UTC(year, month - 1 + months, 1));
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(dayOfMonth, last));
  return first.toISOString().slice(0, 10);
}
