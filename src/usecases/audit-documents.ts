import type { State } from "../audit/model.ts";

/** The documents of `audit verify`, `list`, `--diff` (docs/schemas). */

export interface VerifiedRun {
  readonly run: string;
  /** Of its manifest. */
  readonly sha256: string;
  /** not-checked: there is one, and nobody said who is allowed to sign. */
  readonly signature: "none" | "good" | "bad" | "not-checked";
  /** Empty: it is as it was made. */
  readonly problems: readonly string[];
}

export interface AuditVerifyDocument {
  readonly schema: "unterbau/audit-verify/1";
  readonly runs: readonly VerifiedRun[];
  /** What is wrong with the chain as a whole. */
  readonly chain: readonly string[];
  readonly ok: boolean;
}

export interface AuditListDocument {
  readonly schema: "unterbau/audit-list/1";
  readonly runs: readonly {
    readonly run: string;
    readonly started: string | null;
    readonly host: string | null;
    readonly recorded: boolean | null;
    readonly state: State | null;
    readonly bytes: number;
    readonly signed: boolean;
  }[];
  /** Of all. */
  readonly bytes: number;
}

export interface AuditDiffDocument {
  readonly schema: "unterbau/audit-diff/1";
  readonly before: string;
  readonly after: string;
  readonly checks: readonly {
    readonly id: string;
    readonly guest: string | null;
    readonly before: State | null;
    readonly after: State | null;
  }[];
  readonly guests: readonly {
    readonly name: string;
    readonly uuid: string;
    readonly change: "added" | "removed" | "renamed";
  }[];
  readonly disks: readonly {
    readonly guest: string;
    readonly target: string;
    readonly before: { readonly place: string; readonly encrypted: string } | null;
    readonly after: { readonly place: string; readonly encrypted: string } | null;
  }[];
  /** Null: the same thresholds. */
  readonly policy: { readonly before: string; readonly after: string } | null;
}
