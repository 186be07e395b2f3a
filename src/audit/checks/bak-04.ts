import { createHash } from "node:crypto";
import { BAK_04 } from "../catalogue/bak.ts";
import { declaredPart } from "../declared.ts";
import type { Check, HostReader, Remark } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Test {
  readonly date: string;
  readonly luksHeader: boolean;
  /** Null: no log was declared, or no hash of it. */
  readonly log: "as declared" | "changed" | "not there" | null;
}

interface Facts {
  /** Null: nothing was declared. */
  readonly tests: readonly Test[] | null;
  readonly wrong: { readonly where: string; readonly why: string } | null;
}

export const bak04: Check<Facts> = {
  ...BAK_04,
  about: "guest",
  explanation: {
    de: "Ob eine Sicherung brauchbar ist, zeigt nur die Rücksicherung. Bei verschlüsselten Datenträgern gehört dazu, dass sich LUKS mit dem gesicherten Kopf und der hinterlegten Passphrase öffnen lässt.",
    en: "Only a restore shows whether a backup is of use. With encrypted disks that includes opening LUKS with the header's backup and the passphrase that is kept.",
  },
  remedy: {
    de: "Sichern Sie den Gast einmal im Jahr auf einen anderen Datenträger zurück (`unterbau backup verify` prüft jeden Stand), öffnen Sie LUKS mit der Kopfsicherung, und tragen Sie Datum und Protokoll unter `restoreTests` ein.",
    en: "Restore the guest to another disk once a year (`unterbau backup verify` checks every backup), open LUKS with the header's backup, and enter date and log under `restoreTests`.",
  },
  sentences: {
    tested: {
      de: "Die Rücksicherung wurde am {date} geprüft, einschließlich des Öffnens von LUKS mit der Kopfsicherung (Erklärung).",
      en: "The restore was tested on {date}, with LUKS opened by the header's backup (declared).",
    },
    "without-luks": {
      de: "Die Rücksicherung wurde am {date} geprüft, jedoch ohne LUKS mit der Kopfsicherung zu öffnen (Erklärung).",
      en: "The restore was tested on {date}, but without opening LUKS by the header's backup (declared).",
    },
    aging: {
      de: "Die letzte geprüfte Rücksicherung vom {date} liegt mehr als {months} Monate zurück.",
      en: "The last tested restore, of {date}, is more than {months} months ago.",
    },
    old: {
      de: "Die letzte geprüfte Rücksicherung vom {date} liegt mehr als {months} Monate zurück und gilt als nicht mehr erbracht.",
      en: "The last tested restore, of {date}, is more than {months} months ago and counts as none.",
    },
    never: { de: "Eine Rücksicherung wurde nie geprüft.", en: "A restore was never tested." },
    "log-changed": {
      de: "Das Protokoll der Rücksicherung vom {date} ist nicht das erklärte: Seine Prüfsumme stimmt nicht.",
      en: "The log of the restore of {date} is not the declared one: its checksum differs.",
    },
    "log-absent": {
      de: "Nicht feststellbar: Das Protokoll der Rücksicherung vom {date} ist nicht lesbar.",
      en: "Cannot be determined: the log of the restore of {date} cannot be read.",
    },
    future: {
      de: "Nicht beurteilbar: Die erklärte Rücksicherung vom {date} liegt in der Zukunft.",
      en: "Cannot be judged: the declared restore of {date} is in the future.",
    },
    "tests-not-declared": {
      de: "Nicht beurteilbar: Es ist nicht erklärt, wann zuletzt zurückgesichert wurde (`restoreTests`).",
      en: "Cannot be judged: when a restore was last tested is not declared (`restoreTests`).",
    },
    "tests-not-understood": {
      de: "Nicht beurteilbar: Die Erklärung zur Rücksicherung ist fehlerhaft ({where}: {why}).",
      en: "Cannot be judged: the declaration of restores is wrong ({where}: {why}).",
    },
  },
  collect: async ({ host, guest, declared }) => {
    const part = declaredPart(declared, "restoreTests");
    if (part.kind === "wrong") return { tests: null, wrong: { where: part.where, why: part.why } };
    if (part.kind === "nothing") return { tests: null, wrong: null };
    const own = part.value.filter((t) => t.guests === undefined || t.guests.includes(guest?.name ?? ""));
    const tests = await Promise.all(
      own.map(async ({ date, luksHeader, log, sha256 }) => ({
        date: new Date(date).toISOString(),
        luksHeader,
        log: log === undefined || sha256 === undefined ? null : await compare(host, log, sha256),
      })),
    );
    return { tests, wrong: null };
  },
  verdict: ({ tests, wrong }, { policy, now }) => {
    if (wrong !== null) {
      const { where, why } = wrong;
      return verdictOf([remark("unknown", "tests-not-understood", { where: value.text(where), why: value.text(why) })]);
    }
    if (tests === null) return verdictOf([remark("unknown", "tests-not-declared")]);
    const last = [...tests].sort((a, b) => (a.date < b.date ? -1 : 1)).at(-1);
    return verdictOf(last === undefined ? [remark("fail", "never")] : judge(last, policy.restoreTestMonths, now));
  },
};

function judge(
  { date, luksHeader, log }: Test,
  months: { readonly pass: number; readonly warn: number },
  now: string,
): Remark[] {
  const at = { date: value.date(date) };
  const after = (count: number) => {
    const limit = new Date(date);
    limit.setUTCMonth(limit.getUTCMonth() + count);
    return Date.parse(now) > limit.getTime();
  };
  // A day without a zone may be tomorrow's.
  if (Date.parse(date) > Date.parse(now) + 24 * 3_600_000) return [remark("unknown", "future", at)];
  const remarks: Remark[] = [];
  if (log === "changed") remarks.push(remark("fail", "log-changed", at));
  if (log === "not there") remarks.push(remark("unknown", "log-absent", at));
  if (after(months.warn)) remarks.push(remark("fail", "old", { ...at, months: value.number(months.warn) }));
  else if (after(months.pass)) remarks.push(remark("warn", "aging", { ...at, months: value.number(months.pass) }));
  if (!luksHeader) remarks.push(remark("warn", "without-luks", at));
  return remarks.length === 0 ? [remark("pass", "tested", at)] : remarks;
}

/** The log is text; of what is not, another reader would see other bytes. */
async function compare(host: HostReader, path: string, sha256: string): Promise<Test["log"]> {
  const file = await host.file(path);
  if (file.kind !== "text") return "not there";
  return createHash("sha256").update(file.text).digest("hex") === sha256 ? "as declared" : "changed";
}
