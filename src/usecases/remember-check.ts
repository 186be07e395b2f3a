import { getReadyToRecord, recordCheck } from "../host/check-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { CheckDocument, Verdict } from "./documents.ts";

/** From the worst to the best: what cannot be known comes before what is known to be good. */
const WORST_FIRST: readonly Verdict[] = [
  "errors-left",
  "errors",
  "would-repair",
  "snapshot-invalid",
  "not-checked",
  "repaired",
  "clean",
];

export function worstVerdict(verdicts: readonly Verdict[]): Verdict {
  return WORST_FIRST.find((v) => verdicts.includes(v)) ?? "not-checked";
}

/** Keeps for `list` what a check of these files and devices came to. It is no part of the check: what fails is only said. */
export function rememberCheck(
  paths: readonly string[],
  document: CheckDocument,
  complete: boolean,
  note: ((text: string) => void) | undefined,
): void {
  const verdicts = document.volumes.map((v) => v.verdict);
  const volumes: Record<string, number> = {};
  for (const verdict of verdicts) volumes[verdict] = (volumes[verdict] ?? 0) + 1;
  const { mode } = document;
  try {
    for (const path of paths) {
      const checked = new Date().toISOString();
      recordCheck(sourceIdentity(path), { checked, mode, verdict: worstVerdict(verdicts), volumes, complete });
    }
  } catch (error) {
    note?.(`the verdict is not remembered for list: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Loads what `rememberCheck` needs. */
export function getReadyToRemember(): void {
  getReadyToRecord();
}
