import { GOV_01 } from "../catalogue/gov.ts";
import type { Check, HostReader, Remark, Rules } from "../model.ts";
import { isWhole, lastUpgrade, pendingSecurity, releaseDate } from "../parse-apt.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** `debian 12`, as os-release(5) has ID and VERSION_ID; null: not there. */
  readonly release: string | null;
  /** os-release(5), SUPPORT_END: a day. */
  readonly supportEnd: string | null;
  /** Names of security updates that apt would install from what it knows; null: apt is not there, or did not say. */
  readonly pending: readonly string[] | null;
  /** When the newest security archive's index was made; null: there is none. */
  readonly listsOf: string | null;
  /** The last upgrade of the whole system, as far as its log goes back. */
  readonly upgraded: string | null;
  readonly rebootRequired: boolean;
}

const LISTS = "/var/lib/apt/lists";
const SIMULATE = ["apt-get", "--simulate", "--quiet", "--option", "Debug::NoLocking=true", "dist-upgrade"];
/** More indexes than a host has. */
const MAX_LISTS = 50;
const SHOWN = 8;
const DAY_MS = 24 * 3_600_000;

export const gov01: Check<Facts> = {
  ...GOV_01,
  about: "host",
  explanation: {
    de: "Wer den Host übernimmt, liest die Daten aller Gäste, auch der verschlüsselten. Bekannte Schwachstellen müssen deshalb zeitnah geschlossen werden.",
    en: "Whoever takes over the host reads the data of all guests, encrypted ones too. Known weaknesses therefore have to be closed soon.",
  },
  remedy: {
    de: "Spielen Sie die Aktualisierungen ein (`apt-get update && apt-get dist-upgrade`), starten Sie den Host neu, wo es verlangt wird, und schalten Sie unattended-upgrades ein.",
    en: "Install the updates (`apt-get update && apt-get dist-upgrade`), restart the host where it is required, and turn on unattended-upgrades.",
  },
  sentences: {
    none: {
      de: "Nach dem Stand der Paketlisten vom {date} steht keine Sicherheitsaktualisierung aus.",
      en: "As of the package lists of {date} no security update is pending.",
    },
    recent: {
      de: "{count} Sicherheitsaktualisierungen stehen aus ({names}), keine länger als {days} Tage: Zuletzt wurde am {date} vollständig aktualisiert.",
      en: "{count} security updates are pending ({names}), none for more than {days} days: the whole system was last upgraded on {date}.",
    },
    late: {
      de: "{count} Sicherheitsaktualisierungen stehen aus ({names}); zuletzt wurde am {date} vollständig aktualisiert, vor mehr als {days} Tagen.",
      en: "{count} security updates are pending ({names}); the whole system was last upgraded on {date}, more than {days} days ago.",
    },
    "since-unknown": {
      de: "{count} Sicherheitsaktualisierungen stehen aus ({names}); seit wann, ist nicht feststellbar, denn das Protokoll nennt keine vollständige Aktualisierung.",
      en: "{count} security updates are pending ({names}); since when cannot be determined, as the log tells of no upgrade of the whole system.",
    },
    "lists-old": {
      de: "Nicht feststellbar: Die Paketlisten sind vom {date}; was danach erschienen ist, kennt der Host nicht.",
      en: "Cannot be determined: the package lists are of {date}; what came after that the host does not know.",
    },
    "no-security-archive": {
      de: "Nicht feststellbar: Der Host kennt kein Paketarchiv für Sicherheitsaktualisierungen.",
      en: "Cannot be determined: the host knows no package archive for security updates.",
    },
    "not-apt": {
      de: "Nicht feststellbar: Ausstehende Aktualisierungen werden nur auf Systemen mit apt ermittelt.",
      en: "Cannot be determined: pending updates are worked out on systems with apt only.",
    },
    supported: {
      de: "{release} wird vom Hersteller bis {date} mit Sicherheitsaktualisierungen versorgt.",
      en: "{release} gets security updates from its maker until {date}.",
    },
    unsupported: {
      de: "{release} wird seit {date} nicht mehr mit Sicherheitsaktualisierungen versorgt.",
      en: "{release} has not got security updates since {date}.",
    },
    "support-unknown": {
      de: "Nicht feststellbar: Bis wann {release} mit Sicherheitsaktualisierungen versorgt wird, steht nicht in der Richtlinie (`releaseEnds`).",
      en: "Cannot be determined: until when {release} gets security updates is not in the policy (`releaseEnds`).",
    },
    "release-unknown": {
      de: "Nicht feststellbar: Welches System der Host hat, sagt er nicht (/etc/os-release).",
      en: "Cannot be determined: the host does not say which system it has (/etc/os-release).",
    },
    reboot: {
      de: "Der Host verlangt einen Neustart; bis dahin laufen alte Fassungen weiter.",
      en: "The host asks to be restarted; until then old versions go on running.",
    },
  },
  collect: async ({ host }) => {
    const [os, simulated, listsOf, history, ...reboot] = await Promise.all([
      host.file("/etc/os-release"),
      host.run(SIMULATE),
      securityDate(host),
      host.file("/var/log/apt/history.log"),
      host.stat("/run/reboot-required"),
      host.stat("/var/run/reboot-required"),
    ]);
    const field = (name: string): string | null =>
      os.kind === "text" ? (new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(os.text)?.[1] ?? null) : null;
    const id = field("ID");
    const whole = simulated.kind === "ran" && simulated.exit === 0 && isWhole(simulated.stdout);
    return {
      release: id === null ? null : `${id} ${field("VERSION_ID") ?? ""}`.trim(),
      supportEnd: field("SUPPORT_END"),
      pending: whole ? pendingSecurity(simulated.stdout).map((u) => u.name) : null,
      listsOf,
      upgraded: history.kind === "text" ? lastUpgrade(history.text) : null,
      rebootRequired: reboot.some((stat) => stat !== null),
    };
  },
  verdict: (facts, rules) => verdictOf([...updates(facts, rules), ...support(facts, rules), ...restart(facts)]),
};

async function securityDate(host: HostReader): Promise<string | null> {
  const names = ((await host.list(LISTS)) ?? []).filter((n) => /security.*_(In)?Release$/.test(n)).slice(0, MAX_LISTS);
  const files = await Promise.all(names.map((name) => host.file(`${LISTS}/${name}`)));
  const dates = files.flatMap((f) => (f.kind === "text" ? (releaseDate(f.text) ?? []) : []));
  // The oldest: what that archive has had since then is not known.
  return dates.sort()[0] ?? null;
}

function updates({ pending, listsOf, upgraded }: Facts, { policy, now }: Rules): Remark[] {
  const { pass, warn } = policy.updateDays;
  const age = (date: string) => (Date.parse(now) - Date.parse(date)) / DAY_MS;
  if (pending === null) return [remark("unknown", "not-apt")];
  if (listsOf === null) return [remark("unknown", "no-security-archive")];
  const remarks: Remark[] = [];
  if (age(listsOf) > pass) remarks.push(remark("unknown", "lists-old", { date: value.date(listsOf) }));
  if (pending.length === 0)
    return remarks.length > 0 ? remarks : [remark("pass", "none", { date: value.date(listsOf) })];
  const names = pending.slice(0, SHOWN).join(", ") + (pending.length > SHOWN ? ", …" : "");
  const values = { count: value.number(pending.length), names: value.program(names) };
  if (upgraded === null) return [...remarks, remark("unknown", "since-unknown", values)];
  const since = { ...values, date: value.date(upgraded) };
  if (age(upgraded) <= pass) remarks.push(remark("pass", "recent", { ...since, days: value.number(pass) }));
  else if (age(upgraded) <= warn) remarks.push(remark("warn", "late", { ...since, days: value.number(pass) }));
  else remarks.push(remark("fail", "late", { ...since, days: value.number(warn) }));
  return remarks;
}

function support({ release, supportEnd }: Facts, { policy, now }: Rules): Remark[] {
  if (release === null) return [remark("unknown", "release-unknown")];
  const said = { release: value.program(release) };
  const { releaseEnds } = policy;
  const end = supportEnd ?? (Object.hasOwn(releaseEnds, release) ? releaseEnds[release]! : null);
  // The last day counts.
  const over = end === null ? Number.NaN : Date.parse(end) + DAY_MS;
  if (end === null || Number.isNaN(over)) return [remark("unknown", "support-unknown", said)];
  const values = { ...said, date: value.date(end) };
  return [over > Date.parse(now) ? remark("pass", "supported", values) : remark("fail", "unsupported", values)];
}

function restart({ rebootRequired }: Facts): Remark[] {
  return rebootRequired ? [remark("warn", "reboot")] : [];
}
