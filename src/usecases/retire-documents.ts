import type { DeletionVerdict, RetirementRecord } from "../host/retirement-store.ts";

/** The deletion record: planned by --dry-run, begun, or done (docs/schemas/retire.json). */
export type RetireDocument = RetirementRecord;

export interface RetirementsDocument {
  readonly schema: "unterbau/retirements/1";
  readonly retirements: readonly {
    readonly run: string;
    readonly guest: string;
    readonly state: RetirementRecord["state"];
    readonly verdict: DeletionVerdict | null;
    readonly begun: string | null;
    readonly ended: string | null;
  }[];
}
