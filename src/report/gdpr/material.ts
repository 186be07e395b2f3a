import type { Answers } from "../../answers/model.ts";
import type { AuditDocument, Check, CheckOutcome, Lang } from "../../audit/model.ts";
import type { Audience } from "./model.ts";

/** What papers need to know of a check. */
export type CheckInfo = Pick<
  Check<unknown>,
  | "id"
  | "about"
  | "title"
  | "letters"
  | "sdm"
  | "itGrundschutz"
  | "grundschutzPlusPlus"
  | "explanation"
  | "remedy"
  | "sentences"
>;

/** All that papers are written from: the same material gives the same bytes. */
export interface Material {
  readonly audit: AuditDocument;
  /** SHA-256 in hex of the run's canonical JSON. */
  readonly manifestSha256: string;
  readonly checks: readonly CheckInfo[];
  /** Null: nothing was declared. */
  readonly office: Answers | null;
  readonly client: Answers | null;
  /** The name of the client's file. */
  readonly clientName: string;
  readonly lang: Lang;
  readonly audience: Audience;
}

/** The guests that a client's papers are about: those that its answers name, else all. */
export function guestsInScope(material: Material): readonly string[] {
  return material.client?.guests ?? material.audit.guests.map(({ name }) => name);
}

/** Outcomes of a check that concern the client: of the host, and of its guests. */
export function outcomesOf(material: Material, check: string): readonly CheckOutcome[] {
  const scope = new Set(guestsInScope(material));
  return material.audit.checks.filter(
    (outcome) => outcome.id === check && (outcome.guest === null || scope.has(outcome.guest)),
  );
}

export function infoOf(material: Material, check: string): CheckInfo | null {
  return material.checks.find(({ id }) => id === check) ?? null;
}
