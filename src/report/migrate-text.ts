import type { MigrateDocument } from "../usecases/migrate-documents.ts";
import { humanSize, printable } from "./units.ts";

/** What a migration came to, or would do. */
export function migrationText(doc: MigrateDocument): string {
  const [guest, clone] = [doc.guest.name, doc.clone.name].map(printable);
  const several = doc.disks.length > 1;
  const targets = doc.disks.map((d) => printable(d.target)).join(", ");
  switch (doc.state) {
    case "planned": {
      const disks = doc.disks.map(
        (d) => `${several ? `${printable(d.disk)}, ` : ""}${humanSize(d.size)}, to ${made(d)}`,
      );
      const steps = doc.steps.map(({ what, back }, i) => {
        const undo = back === null ? "" : `     back: ${printable(back)}\n`;
        return `${String(i + 1).padStart(3)}. ${printable(what)}\n${undo}`;
      });
      const notes = doc.notes.map((text) => `note: ${printable(text)}\n`).join("");
      return `${guest}, ${disks.join("; ")}, as the guest ${clone}:\n${steps.join("")}${notes}nothing was changed\n`;
    }
    case "rolled-back":
      return `${guest} is as before; ${targets} and the guest ${clone} are taken back\n`;
    case "done": {
      const disks = doc.disks.map((d) => {
        const header = d.header === null ? "" : `  header backup: ${printable(d.header)}\n`;
        return `${printable(d.disk)} is in ${printable(d.target)}, ${humanSize(d.size)}, the same bytes (SHA-256 ${d.sha256})\n${header}`;
      });
      const byHost = doc.disks.some((d) => d.openedBy === "host");
      const start = byHost ? `unterbau unlock vm:${clone} --start` : `virsh start ${doc.clone.uuid}`;
      const stays = doc.stays.map((s) => `${printable(s.disk)} stays as it is: ${printable(s.why)}\n`);
      return `${clone} is defined in the place of ${guest}\n${[...disks, ...stays].join("")}start it: ${start}\nback again: unterbau migrate --rollback ${doc.run}\n`;
    }
  }
}

function made({ target, volume }: MigrateDocument["disks"][number]): string {
  return volume === null ? printable(target) : `the new volume ${printable(volume)}`;
}
