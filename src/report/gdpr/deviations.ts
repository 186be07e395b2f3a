import type { Fields } from "../../answers/model.ts";
import type { Remark, State } from "../../audit/model.ts";
import { MEASURES } from "./data/measures.ts";
import { type CheckInfo, guestsInScope, infoOf, type Material, outcomesOf } from "./material.ts";
import type { Origin } from "./model.ts";
import { answerOf } from "./statements.ts";

/** A check that does not pass, for the host or one guest. */
export interface Deviation {
  readonly check: string;
  readonly guest: string | null;
  readonly state: Exclude<State, "pass" | "n-a">;
  /** RFC 3339; empty: it was not run. */
  readonly at: string;
  readonly remarks: readonly Remark[];
  readonly info: CheckInfo | null;
}

/** All that does not pass, in the checks' order. A check that the run does not have, or a guest that it does not know, is unknown. */
export function deviationsOf(material: Material): readonly Deviation[] {
  const scope = guestsInScope(material);
  return MEASURES.map(({ checks }) => checks[0]).flatMap((check): Deviation[] => {
    const info = infoOf(material, check);
    const outcomes = outcomesOf(material, check);
    const found = outcomes.flatMap((outcome): Deviation[] => {
      const { state, guest, at, remarks } = outcome;
      return state === "pass" || state === "n-a" ? [] : [{ check, guest, state, at, remarks, info }];
    });
    const missing = (guest: string | null): Deviation => ({
      check,
      guest,
      state: "unknown",
      at: "",
      remarks: [],
      info,
    });
    if (info?.about === "guest" || outcomes.some(({ guest }) => guest !== null)) {
      const measured = new Set(outcomes.map(({ guest }) => guest));
      return [...found, ...scope.filter((guest) => !measured.has(guest)).map(missing)];
    }
    return outcomes.length === 0 ? [missing(null)] : found;
  });
}

export type DecisionState = "open" | "accepted" | "remediating" | "closed" | "demanded";

export interface Decision {
  readonly decision: DecisionState;
  /** The row of Q42; null: nothing was decided. */
  readonly row: Fields | null;
  readonly origin: Origin;
  /** Why the decision does not settle it: its deadline was over when the run ended, none was set, or what was called closed is still there. */
  readonly doubt: "expired" | "no-deadline" | "still-there" | null;
}

/** What was declared (Q42) on a risk (`R6`) or a check (`ENC-01`); the row that names the guest comes first. */
export function decisionOn(material: Material, subject: string, guest: string | null): Decision {
  const answer = answerOf(material, "Q42");
  const rows = (answer?.rows ?? []).filter((row) => row.subject?.trim().toUpperCase() === subject);
  const row = rows.find((r) => guest !== null && r.guest === guest) ?? rows.find((r) => !r.guest) ?? null;
  if (!answer || !row) return { decision: "open", row: null, origin: { mark: "open", about: "Q42" }, doubt: null };
  const decision = (row.decision ?? "open") as DecisionState;
  const origin = { mark: "declared", question: "Q42", by: answer.by, date: answer.date } as const;
  return { decision, row, origin, doubt: doubtOf(decision, row.deadline ?? null, material.audit.ended) };
}

/** Who asks for a decision has a deviation or a risk before him: it is there, whatever was declared. */
function doubtOf(decision: DecisionState, deadline: string | null, now: string): Decision["doubt"] {
  if (decision === "closed") return "still-there";
  if (deadline !== null && deadline < now.slice(0, 10)) return "expired";
  return decision === "accepted" && deadline === null ? "no-deadline" : null;
}
