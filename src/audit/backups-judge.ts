import type { BackupFacts, GuestBackups } from "./backups.ts";
import type { Remark, Verdict } from "./model.ts";
import { remark, value, verdictOf } from "./verdict.ts";

/** Judges each backup of the guest; without any there is nothing to pass. */
export function judgeBackups(
  { guest, backups, wrong }: GuestBackups,
  judge: (backup: BackupFacts) => Remark[],
): Verdict {
  if (wrong !== null)
    return verdictOf([
      remark("unknown", "backups-not-understood", { where: value.text(wrong.where), why: value.text(wrong.why) }),
    ]);
  if (backups === null) return verdictOf([remark("unknown", "backups-not-declared")]);
  if (backups.length === 0) return verdictOf([remark("fail", "no-backup", { guest: value.guest(guest) })]);
  return verdictOf(backups.flatMap(judge));
}

export const BACKUP_SENTENCES = {
  "backups-not-declared": {
    de: "Nicht beurteilbar: Es ist nicht erklärt, wie gesichert wird (`backups`).",
    en: "Cannot be judged: how backups are made is not declared (`backups`).",
  },
  "backups-not-understood": {
    de: "Nicht beurteilbar: Die Erklärung zu den Sicherungen ist fehlerhaft ({where}: {why}).",
    en: "Cannot be judged: the declaration of backups is wrong ({where}: {why}).",
  },
  "no-backup": {
    de: "Keine der erklärten Sicherungen umfasst den Gast {guest}.",
    en: "None of the declared backups holds the guest {guest}.",
  },
} as const;
