/** The JSON documents that other programs rely on (docs/schemas). Plain data only: reports are made from these and nothing else. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

export interface FindingDocument {
  readonly severity: "info" | "warning" | "error";
  readonly code: string;
  readonly message: string;
  readonly layer: string;
  readonly offset?: number | undefined;
}

export interface NodeDocument {
  readonly id: string;
  readonly kind: string;
  readonly selector: string | null;
  /** Bytes in the parent, or null when it is not one run there. */
  readonly offset: number | null;
  /** Bytes. */
  readonly size: number;
  readonly details: { readonly [key: string]: Json | undefined };
  readonly findings: readonly FindingDocument[];
  readonly children: readonly NodeDocument[];
}

export interface VolumeDocument {
  readonly selector: string;
  readonly path: readonly string[];
  readonly kind: "filesystem" | "swap" | "unknown" | "locked";
  readonly type: string | null;
  readonly size: number;
  readonly uuid: string | null;
  readonly label: string | null;
  readonly state: string | null;
  readonly readable: boolean;
  readonly reason: string | null;
}

export interface InspectDocument {
  readonly schema: "unterbau/inspect/1";
  readonly tree: readonly NodeDocument[];
  readonly groups: readonly NodeDocument[];
  readonly volumes: readonly VolumeDocument[];
  readonly findings: readonly FindingDocument[];
}

export type Verdict = "clean" | "would-repair" | "repaired" | "errors-left" | "not-checked";

export interface CheckedVolumeDocument {
  readonly selector: string;
  readonly type: string | null;
  readonly verdict: Verdict;
  readonly reason: string | null;
  /** The checker's own exit code; null when it did not run or was ended by a signal. */
  readonly exitCode: number | null;
  /** Name and version of the checker. */
  readonly checker: string | null;
  /** What the checker printed. */
  readonly log: string;
  /** Bytes of the volume that differ from before (on the overlay in a preview). */
  readonly changedBytes: number;
  readonly seconds: number;
}

export interface CheckDocument {
  readonly schema: "unterbau/check/1";
  /** The run's id, by which `undo` takes it back; null when nothing was committed. */
  readonly run: string | null;
  readonly mode: "preview" | "repair";
  readonly volumes: readonly CheckedVolumeDocument[];
  /** As fsck(8), OR-ed over all volumes. */
  readonly exitCode: number;
}
