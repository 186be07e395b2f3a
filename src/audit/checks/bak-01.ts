import { collectBackups, type GuestBackups } from "../backups.ts";
import { BACKUP_SENTENCES, judgeBackups } from "../backups-judge.ts";
import { BAK_01 } from "../catalogue/bak.ts";
import type { Check } from "../model.ts";
import { remark, value } from "../verdict.ts";

const HOUR = 3_600_000;

export const bak01: Check<GuestBackups> = {
  ...BAK_01,
  about: "guest",
  explanation: {
    de: "Eine Sicherung, die seit Wochen nicht mehr läuft, bemerkt niemand, bis sie gebraucht wird. Gemessen wird daher das Alter der letzten vollständigen Sicherung.",
    en: "Nobody notices a backup that stopped weeks ago until it is needed. So the age of the last complete backup is measured.",
  },
  remedy: {
    de: "Führen Sie die Sicherung jetzt aus, und richten Sie einen systemd-Timer ein, dessen Fehlschlag Ihnen gemeldet wird (`OnFailure=`).",
    en: "Make the backup now, and set up a systemd timer whose failure is reported to you (`OnFailure=`).",
  },
  sentences: {
    ...BACKUP_SENTENCES,
    recent: {
      de: "Die letzte Sicherung „{backup}“ ist vom {date}; erklärt ist ein Abstand von {hours} Stunden.",
      en: "The last backup “{backup}” is of {date}; an interval of {hours} hours is declared.",
    },
    late: {
      de: "Die letzte Sicherung „{backup}“ vom {date} ist älter als der erklärte Abstand von {hours} Stunden.",
      en: "The last backup “{backup}” of {date} is older than the declared interval of {hours} hours.",
    },
    old: {
      de: "Die letzte Sicherung „{backup}“ vom {date} ist mehr als doppelt so alt wie der erklärte Abstand von {hours} Stunden.",
      en: "The last backup “{backup}” of {date} is more than twice as old as the declared interval of {hours} hours.",
    },
    future: {
      de: "Die letzte Sicherung „{backup}“ trägt ein Datum in der Zukunft ({date}); ihr Alter ist nicht feststellbar.",
      en: "The last backup “{backup}” bears a date in the future ({date}); its age cannot be determined.",
    },
    failed: {
      de: "Der letzte Lauf der Sicherung „{backup}“ ist gescheitert ({reason}).",
      en: "The last run of the backup “{backup}” failed ({reason}).",
    },
    never: { de: "Von der Sicherung „{backup}“ gibt es keinen Stand.", en: "The backup “{backup}” holds nothing yet." },
    unknown: {
      de: "Nicht feststellbar: Das Alter der Sicherung „{backup}“ ist nicht lesbar ({reason}).",
      en: "Cannot be determined: the age of the backup “{backup}” cannot be read ({reason}).",
    },
  },
  collect: collectBackups,
  verdict: (facts, { now }) =>
    judgeBackups(facts, ({ name, last, failed, problem, intervalHours }) => {
      const backup = value.text(name);
      if (problem !== null) return [remark("unknown", "unknown", { backup, reason: value.text(problem) })];
      if (failed !== null) return [remark("fail", "failed", { backup, reason: value.text(failed) })];
      if (last === null) return [remark("fail", "never", { backup })];
      const values = { backup, date: value.date(last), hours: value.number(intervalHours) };
      const hours = (Date.parse(now) - Date.parse(last)) / HOUR;
      // A clock may be off by some minutes.
      if (hours < -1) return [remark("unknown", "future", values)];
      if (hours <= intervalHours) return [remark("pass", "recent", values)];
      return [hours <= 2 * intervalHours ? remark("warn", "late", values) : remark("fail", "old", values)];
    }),
};
