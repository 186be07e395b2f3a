import type { MigrateDocument } from "../usecases/migrate-documents.ts";
import { humanSize, printable } from "./units.ts";

/** What a migration came to, or would do. */
export function migrationText(doc: MigrateDocument): string {
  const [guest, clone, target] = [doc.guest.name, doc.clone.name, doc.target].map(printable);
  switch (doc.state) {
    case "planned": {
      const steps = doc.steps.map(({ what }, i) => `${String(i + 1).padStart(3)}. ${what}\n`).join("");
      const notes = doc.notes.map((text) => `note: ${printable(text)}\n`).join("");
      return `${guest}, ${humanSize(doc.size)}, to ${target}, as the guest ${clone}:\n${steps}${notes}nothing was changed\n`;
    }
    case "rolled-back":
      return `${guest} is as before; ${target} and the guest ${clone} are taken back\n`;
    case "done": {
      const header = doc.header === null ? "" : `header backup: ${printable(doc.header)}\n`;
      return `${clone} is defined on ${target}, ${humanSize(doc.size)}, the same bytes as ${guest} (SHA-256 ${doc.sha256})\n${header}start it: virsh start ${doc.clone.uuid}\nback again: unterbau migrate --rollback ${doc.run}\n`;
    }
  }
}
