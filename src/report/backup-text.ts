import type {
  BackedUpDisk,
  BackupDocument,
  BackupListDocument,
  BackupVerifyDocument,
} from "../usecases/backup-documents.ts";
import type { Palette } from "./tree-text.ts";
import { exactSize, printable } from "./units.ts";

export function backupText(doc: BackupDocument): string {
  const disks = doc.disks.map(
    (disk) =>
      `  ${printable(disk.target)}  ${exactSize(disk.size)}, ${formOf(disk)}${disk.header === null ? "" : ", with its LUKS header"}`,
  );
  const live = doc.live ? ", of one instant while it ran" : "";
  return `${printable(doc.guest)}: backup ${doc.id} in ${printable(doc.to)}${live}\n${disks.join("\n")}\n`;
}

function formOf({ kind, decrypted }: BackedUpDisk): string {
  if (kind === "ciphertext") return "as it is encrypted";
  return decrypted ? "decrypted, as the guest sees it" : "as the guest sees it";
}

export function backupListText(doc: BackupListDocument, p: Palette): string {
  const lines = doc.backups.map(({ id, created, guest, size, live }) => {
    const when = `${created.slice(0, 16).replace("T", " ")} UTC`;
    return `${p.bold(id)}  ${when}  ${printable(guest)}  ${exactSize(size)}${live ? "  live" : ""}`;
  });
  if (lines.length === 0) lines.push(`There is no whole backup in ${printable(doc.to)}.`);
  for (const id of doc.unfinished) lines.push(p.yellow(`note: ${printable(id)} was cut off, or is being made`));
  return `${lines.join("\n")}\n`;
}

/** After the verdicts of its volumes. */
export function verifyHeading(doc: BackupVerifyDocument, p: Palette): string {
  const all = doc.disks.map((d) => `${printable(d.target)} ${exactSize(d.size)}`).join(", ");
  const headers = doc.headers.length === 0 ? "" : `; LUKS headers: ${doc.headers.map((h) => h.uuid).join(", ")}`;
  const verdict =
    doc.exitCode === 0
      ? p.green("can be restored, and its file systems are clean")
      : p.yellow("has the bytes that were backed up; see the verdicts of its file systems");
  return `backup ${doc.id} of ${printable(doc.guest)} (${all}${headers}): ${verdict}\n`;
}
