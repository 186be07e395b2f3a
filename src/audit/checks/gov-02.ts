import { GOV_02 } from "../catalogue/gov.ts";
import { declaredPart } from "../declared.ts";
import type { ChainState, Check, Remark, Rules } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** Null: the run belongs to no chain. */
  readonly chain: ChainState | null;
}

const DAY_MS = 24 * 3_600_000;

export const gov02: Check<Facts> = {
  ...GOV_02,
  about: "host",
  explanation: {
    de: "Art. 32 Abs. 1 lit. d verlangt, die Wirksamkeit der Maßnahmen regelmäßig zu überprüfen. Eine Kette von Nachweisen, die einander mit Prüfsummen festhalten, zeigt, dass das geschah und nichts davon nachträglich geändert wurde.",
    en: "Art. 32(1)(d) asks for regular testing of the measures. A chain of evidence, each with the hash of the one before, shows that it was done and that none of it was changed afterwards.",
  },
  remedy: {
    de: "Lassen Sie `unterbau audit` durch einen Timer laufen, tragen Sie den Abstand als `auditEveryDays` ein, und sehen Sie mit `unterbau audit verify` nach, was an der Kette nicht stimmt.",
    en: "Have `unterbau audit` run by a timer, enter the interval as `auditEveryDays`, and see with `unterbau audit verify` what is wrong with the chain.",
  },
  sentences: {
    intact: {
      de: "Die Kette der {count} bisherigen Nachweise dieses Hosts ist unversehrt.",
      en: "The chain of the {count} earlier audits of this host is intact.",
    },
    broken: {
      de: "Die Kette der Nachweise ist nicht unversehrt ({count} Befunde); der erste: {problem}.",
      en: "The chain of evidence is not intact ({count} findings); the first: {problem}.",
    },
    "in-time": {
      de: "Die vorige Prüfung war am {date}, innerhalb des Abstands von {days} Tagen.",
      en: "The audit before was on {date}, within the interval of {days} days.",
    },
    late: {
      de: "Die vorige Prüfung war am {date}; der Abstand von {days} Tagen ist überschritten.",
      en: "The audit before was on {date}; the interval of {days} days is exceeded.",
    },
    first: {
      de: "Dies ist die erste Prüfung dieses Hosts; eine Wiederholung ist noch nicht gezeigt.",
      en: "This is the first audit of this host; a repetition is not shown yet.",
    },
    future: {
      de: "Nicht beurteilbar: Die vorige Prüfung vom {date} liegt in der Zukunft.",
      en: "Cannot be judged: the audit before, of {date}, is in the future.",
    },
    "no-chain": {
      de: "Nicht feststellbar: Dieser Lauf gehört zu keiner Kette von Nachweisen (aufgezeichneter Host, oder `--no-keep`).",
      en: "Cannot be determined: this run belongs to no chain of evidence (a recorded host, or `--no-keep`).",
    },
    "interval-not-understood": {
      de: "Nicht beurteilbar: Der erklärte Abstand ist fehlerhaft ({where}: {why}).",
      en: "Cannot be judged: the declared interval is wrong ({where}: {why}).",
    },
  },
  collect: async ({ chain }) => ({ chain }),
  verdict: ({ chain }, rules) =>
    verdictOf(chain === null ? [remark("unknown", "no-chain")] : [...links(chain), ...interval(chain, rules)]),
};

function links({ problems, runs }: ChainState): Remark[] {
  const [problem] = problems;
  if (problem !== undefined)
    return [remark("fail", "broken", { count: value.number(problems.length), problem: value.text(problem) })];
  return runs === 0 ? [] : [remark("pass", "intact", { count: value.number(runs) })];
}

function interval({ last }: ChainState, { declared, policy, now }: Rules): Remark[] {
  if (last === null) return [remark("warn", "first")];
  const said = declaredPart(declared, "auditEveryDays");
  if (said.kind === "wrong")
    return [remark("unknown", "interval-not-understood", { where: value.text(said.where), why: value.text(said.why) })];
  const days = said.kind === "said" ? said.value : policy.auditEveryDays;
  const values = { date: value.date(last), days: value.number(days) };
  const age = (Date.parse(now) - Date.parse(last)) / DAY_MS;
  if (!(age >= 0)) return [remark("unknown", "future", values)];
  // A timer has its delay.
  return [age <= days + 1 ? remark("pass", "in-time", values) : remark("warn", "late", values)];
}
