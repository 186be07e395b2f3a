import { GOV_01 } from "../catalogue/gov.ts";
import type { Check, Remark, Rules } from "../model.ts";
import { aptUpdates } from "../updates/apt.ts";
import { dnfUpdates } from "../updates/dnf.ts";
import type { UpdateFacts } from "../updates/facts.ts";
import { zypperUpdates } from "../updates/zypper.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** `debian 12`, as os-release(5) has ID and VERSION_ID; null: not there. */
  readonly release: string | null;
  /** os-release(5), SUPPORT_END: a day. */
  readonly supportEnd: string | null;
  /** Null: none of the package managers that are known is there. */
  readonly updates: UpdateFacts | null;
}

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
    de: "Spielen Sie die Aktualisierungen ein (`apt-get update && apt-get dist-upgrade`, `dnf upgrade --refresh`, `zypper patch`), starten Sie den Host neu, wo es verlangt wird, und lassen Sie es das System selbst tun (unattended-upgrades, dnf-automatic).",
    en: "Install the updates (`apt-get update && apt-get dist-upgrade`, `dnf upgrade --refresh`, `zypper patch`), restart the host where it is required, and have the system do it itself (unattended-upgrades, dnf-automatic).",
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
      de: "Nicht feststellbar: {program} hat nicht gesagt, welche Aktualisierungen ausstehen.",
      en: "Cannot be determined: {program} did not say which updates are pending.",
    },
    "no-manager": {
      de: "Nicht feststellbar: Ausstehende Aktualisierungen werden nur auf Systemen mit apt, dnf oder zypper ermittelt.",
      en: "Cannot be determined: pending updates are worked out on systems with apt, dnf or zypper only.",
    },
    "issued-recent": {
      de: "{count} Sicherheitsaktualisierungen stehen aus ({names}), keine länger als {days} Tage: Die älteste ist vom {date}.",
      en: "{count} security updates are pending ({names}), none for more than {days} days: the oldest was issued on {date}.",
    },
    "issued-late": {
      de: "{count} Sicherheitsaktualisierungen stehen aus ({names}); die älteste ist vom {date}, mehr als {days} Tage alt.",
      en: "{count} security updates are pending ({names}); the oldest was issued on {date}, more than {days} days ago.",
    },
    "no-date": {
      de: "{count} Sicherheitsaktualisierungen stehen aus ({names}); seit wann, ist nicht feststellbar, denn nicht jede nennt ihr Datum.",
      en: "{count} security updates are pending ({names}); since when cannot be determined, as not every one tells its date.",
    },
    "reboot-unknown": {
      de: "Nicht feststellbar: Ob der Host einen Neustart verlangt, hat kein Programm gesagt (`dnf needs-restarting`, `zypper needs-rebooting`).",
      en: "Cannot be determined: whether the host asks to be restarted no program has said (`dnf needs-restarting`, `zypper needs-rebooting`).",
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
    const os = await host.file("/etc/os-release");
    const field = (name: string): string | null =>
      os.kind === "text" ? (new RegExp(`^${name}=["']?([^"'\\n]*)`, "m").exec(os.text)?.[1] ?? null) : null;
    const id = field("ID");
    return {
      release: id === null ? null : `${id} ${field("VERSION_ID") ?? ""}`.trim(),
      supportEnd: field("SUPPORT_END"),
      updates: (await aptUpdates(host)) ?? (await dnfUpdates(host)) ?? (await zypperUpdates(host)),
    };
  },
  verdict: ({ updates, ...os }, rules) =>
    verdictOf([...pending(updates, rules), ...support(os, rules), ...restart(updates)]),
};

function pending(updates: UpdateFacts | null, { policy, now }: Rules): Remark[] {
  const { pass, warn } = policy.updateDays;
  const age = (date: string) => (Date.parse(now) - Date.parse(date)) / DAY_MS;
  if (updates === null) return [remark("unknown", "no-manager")];
  const { pending: names, oldest, listsOf, upgraded, manager } = updates;
  if (names === null) return [remark("unknown", "not-apt", { program: value.program(manager) })];
  if (listsOf === null) return [remark("unknown", "no-security-archive")];
  const remarks: Remark[] = [];
  if (age(listsOf) > pass) remarks.push(remark("unknown", "lists-old", { date: value.date(listsOf) }));
  if (names.length === 0) return remarks.length > 0 ? remarks : [remark("pass", "none", { date: value.date(listsOf) })];
  const shown = names.slice(0, SHOWN).join(", ") + (names.length > SHOWN ? ", …" : "");
  const values = { count: value.number(names.length), names: value.program(shown) };
  // An update cannot be pending for longer than it has been there, nor since before the system had all.
  const since = oldest ?? upgraded;
  if (since === null) return [...remarks, remark("unknown", manager === "apt" ? "since-unknown" : "no-date", values)];
  const code = (late: boolean) => `${oldest === null ? "" : "issued-"}${late ? "late" : "recent"}`;
  const dated = (days: number) => ({ ...values, date: value.date(since), days: value.number(days) });
  if (age(since) <= pass) remarks.push(remark("pass", code(false), dated(pass)));
  else if (age(since) <= warn) remarks.push(remark("warn", code(true), dated(pass)));
  else remarks.push(remark("fail", code(true), dated(warn)));
  return remarks;
}

function support({ release, supportEnd }: Omit<Facts, "updates">, { policy, now }: Rules): Remark[] {
  if (release === null) return [remark("unknown", "release-unknown")];
  const said = { release: value.program(release) };
  const { releaseEnds } = policy;
  // `rhel 9.4` is supported as `rhel 9` is.
  const named = [release, release.replace(/\.\d+$/, "")].find((name) => Object.hasOwn(releaseEnds, name));
  const end = supportEnd ?? (named === undefined ? null : releaseEnds[named]!);
  // The last day counts.
  const over = end === null ? Number.NaN : Date.parse(end) + DAY_MS;
  if (end === null || Number.isNaN(over)) return [remark("unknown", "support-unknown", said)];
  const values = { ...said, date: value.date(end) };
  return [over > Date.parse(now) ? remark("pass", "supported", values) : remark("fail", "unsupported", values)];
}

function restart(updates: UpdateFacts | null): Remark[] {
  if (updates?.rebootRequired === true) return [remark("warn", "reboot")];
  return updates?.rebootRequired === null ? [remark("unknown", "reboot-unknown")] : [];
}
