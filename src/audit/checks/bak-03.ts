import { collectBackups, type GuestBackups } from "../backups.ts";
import { BACKUP_SENTENCES, judgeBackups } from "../backups-judge.ts";
import { BAK_03 } from "../catalogue/bak.ts";
import type { Check } from "../model.ts";
import { remark, value } from "../verdict.ts";

export const bak03: Check<GuestBackups> = {
  ...BAK_03,
  about: "guest",
  explanation: {
    de: "Feuer, Diebstahl und Erpressersoftware treffen alles, was am selben Rechner hängt. Eine Sicherung nützt nur, wenn sie getrennt liegt.",
    en: "Fire, theft and ransomware hit everything that hangs on the same machine. A backup helps only when it is kept apart.",
  },
  remedy: {
    de: "Sichern Sie auf einen anderen Rechner oder einen Datenträger, der nach der Sicherung entfernt wird, und erklären Sie es (`offline: true`).",
    en: "Back up to another machine, or to a medium that is taken out afterwards, and declare it (`offline: true`).",
  },
  sentences: {
    ...BACKUP_SENTENCES,
    remote: {
      de: "Die Sicherung „{backup}“ liegt auf einem anderen Rechner.",
      en: "The backup “{backup}” is kept on another machine.",
    },
    "append-only": {
      de: "Laut Erklärung nimmt der andere Rechner nur neue Stände an.",
      en: "It is declared that the other machine takes additions only.",
    },
    offline: {
      de: "Laut Erklärung wird der Datenträger der Sicherung „{backup}“ entfernt.",
      en: "It is declared that the medium of the backup “{backup}” is taken out.",
    },
    removable: {
      de: "Die Sicherung „{backup}“ liegt auf einem abziehbaren Datenträger.",
      en: "The backup “{backup}” is on a removable medium.",
    },
    "other-disk": {
      de: "Die Sicherung „{backup}“ liegt auf einem anderen Datenträger desselben Hosts.",
      en: "The backup “{backup}” is on another disk of the same host.",
    },
    "same-disk": {
      de: "Die Sicherung „{backup}“ liegt auf demselben Datenträger wie der Gast ({serial}).",
      en: "The backup “{backup}” is on the same disk as the guest ({serial}).",
    },
    unknown: {
      de: "Nicht feststellbar: Wo die Sicherung „{backup}“ liegt.",
      en: "Cannot be determined: where the backup “{backup}” is kept.",
    },
  },
  collect: collectBackups,
  verdict: (facts) =>
    judgeBackups(facts, ({ name, remote, offline, appendOnly, target }) => {
      const backup = value.text(name);
      if (remote) return [remark("pass", "remote", { backup }), ...(appendOnly ? [remark("pass", "append-only")] : [])];
      const same = target?.disks.find((d) => facts.disks.includes(d));
      if (same !== undefined) return [remark("fail", "same-disk", { backup, serial: value.serial(same) })];
      if (offline) return [remark("pass", "offline", { backup })];
      if (target === null || target.disks.length === 0 || facts.disks.length === 0)
        return [remark("unknown", "unknown", { backup })];
      return [target.removable ? remark("pass", "removable", { backup }) : remark("warn", "other-disk", { backup })];
    }),
};
