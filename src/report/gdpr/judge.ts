import type { CheckOutcome, State } from "../../audit/model.ts";
import { worst } from "../../audit/verdict.ts";
import type { Measure } from "./data/measures.ts";
import { guestsInScope, infoOf, type Material, outcomesOf } from "./material.ts";

/** How one measure stands for the host, or for one guest. */
export interface Standing {
  /** Null: of the host. */
  readonly guest: string | null;
  readonly state: State;
  /** Of its checks the first that has this state. */
  readonly check: string;
  /** The oldest measurement that it rests on, RFC 3339; null: nothing was measured. */
  readonly at: string | null;
}

/**
 * A measure stands for a guest only when all of its checks do, for that guest and for the host. A check that the run does not have, or a guest that it
 * does not know, is unknown.
 */
export function standingsOf(material: Material, measure: Measure): readonly Standing[] {
  const outcomes = measure.checks.map((check) => outcomesOf(material, check));
  const byGuest = measure.checks.some(
    (check, i) => infoOf(material, check)?.about === "guest" || outcomes[i]!.some(({ guest }) => guest !== null),
  );
  const subjects: readonly (string | null)[] = byGuest ? guestsInScope(material) : [null];
  return subjects.map((guest) => {
    const found: CheckOutcome[] = [];
    const states = measure.checks.map((_, i) => {
      const own = outcomes[i]!.filter((outcome) => outcome.guest === guest || outcome.guest === null);
      found.push(...own);
      return worst(own.map(({ state }) => state));
    });
    const at = found.map((outcome) => outcome.at).sort()[0] ?? null;
    // The first check is what the measure is about; another one that is about nothing here takes nothing from it.
    const state = states[0] === "n-a" ? "n-a" : worst(states.filter((s) => s !== "n-a"));
    return { guest, state, check: measure.checks[states.indexOf(state)] ?? measure.checks[0], at };
  });
}
