import { collectBackups, type GuestBackups } from "../backups.ts";
import { BACKUP_SENTENCES, judgeBackups } from "../backups-judge.ts";
import { BAK_02 } from "../catalogue/bak.ts";
import type { Check } from "../model.ts";
import { remark, value } from "../verdict.ts";

export const bak02: Check<GuestBackups> = {
  ...BAK_02,
  about: "guest",
  explanation: {
    de: "Eine unverschlüsselte Sicherung hebt die Verschlüsselung des Gastes auf: Wer den Datenträger der Sicherung findet, liest alles.",
    en: "A backup in clear undoes the guest's encryption: whoever finds the backup's medium reads everything.",
  },
  remedy: {
    de: "Verwenden Sie restic oder borg mit `--encryption=repokey-blake2`, oder legen Sie das Ziel auf LUKS. Bewahren Sie Passwort oder Schlüssel zusätzlich an einem zweiten Ort auf (`borg key export`).",
    en: "Use restic, or borg with `--encryption=repokey-blake2`, or put the target on LUKS. Keep the password or key at a second place too (`borg key export`).",
  },
  sentences: {
    ...BACKUP_SENTENCES,
    sealed: {
      de: "Die Sicherung „{backup}“ ist verschlüsselt ({how}).",
      en: "The backup “{backup}” is encrypted ({how}).",
    },
    luks: {
      de: "Das Ziel der Sicherung „{backup}“ liegt vollständig auf einem verschlüsselten Datenträger.",
      en: "The target of the backup “{backup}” rests wholly on an encrypted medium.",
    },
    "key-here-only": {
      de: "Passwort oder Schlüssel der Sicherung „{backup}“ liegen nur auf diesem Host; fällt er aus, ist sie nicht zu öffnen.",
      en: "Password or key of the backup “{backup}” are on this host only; when it is lost the backup cannot be opened.",
    },
    plain: { de: "Die Sicherung „{backup}“ ist nicht verschlüsselt.", en: "The backup “{backup}” is not encrypted." },
    unknown: {
      de: "Nicht feststellbar: Ob die Sicherung „{backup}“ verschlüsselt ist.",
      en: "Cannot be determined: whether the backup “{backup}” is encrypted.",
    },
  },
  collect: collectBackups,
  verdict: (facts) =>
    judgeBackups(facts, ({ name, kind, sealed, target, encryption, hasPasswordFile, keyElsewhere }) => {
      const backup = value.text(name);
      if (sealed === true) {
        const here = hasPasswordFile && !keyElsewhere;
        return [
          here
            ? remark("warn", "key-here-only", { backup })
            : remark("pass", "sealed", { backup, how: value.text(encryption ?? "") }),
        ];
      }
      if (target?.encrypted === "yes") return [remark("pass", "luks", { backup })];
      // Its own encryption may be there, and could not be seen.
      const unseen = sealed === null && ["borg", "restic", "timer"].includes(kind);
      if (unseen || (sealed === null && target === null) || target?.encrypted === "unknown")
        return [remark("unknown", "unknown", { backup })];
      return [remark("fail", "plain", { backup })];
    }),
};
