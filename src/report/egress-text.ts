import type { EgressPlanDocument, EgressUndoDocument } from "../usecases/egress-documents.ts";
import { printable } from "./units.ts";

/** How the plan is put in force and taken back, for standard error: the rules themselves go to standard output. */
export function egressNotes({ guest, format, run, notes }: EgressPlanDocument): string[] {
  const how =
    run === null
      ? `nothing was changed; --apply puts it in force${format === "nft" ? ", or: nft -f FILE" : ""}`
      : `these rules are in force for ${printable(guest)}; unterbau egress undo ${run} takes them back`;
  return [...notes.map(printable), how];
}

export function egressUndoText({ guest, done }: EgressUndoDocument): string {
  return `taken back for ${printable(guest)}: ${done.map(printable).join(", ") || "nothing was left of it"}\n`;
}
