import { INV_01 } from "../catalogue/inv.ts";
import type { Check, CommandResult, Remark } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** First line of what each says of its version; null: not there. */
  readonly programs: Readonly<Record<string, string | null>>;
  readonly root: boolean | null;
  /** What systemd says of the clock; null: it was not asked, or did not answer. */
  readonly synchronised: boolean | null;
  readonly os: string | null;
  readonly kernel: string | null;
}

/** Without these other checks stay unknown. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  virsh: ["virsh", "--version"],
  "qemu-img": ["qemu-img", "--version"],
  cryptsetup: ["cryptsetup", "--version"],
  lsblk: ["lsblk", "--version"],
  dmsetup: ["dmsetup", "--version"],
  nft: ["nft", "--version"],
};

export const inv01: Check<Facts> = {
  ...INV_01,
  about: "host",
  explanation: {
    de: "Ein Nachweis gilt nur mit Zeitpunkt und Werkzeugstand: Ohne richtige Uhr sind die Zeitangaben wertlos, und wo ein Programm oder die Rechte fehlen, bleibt ungeprüft, was es zeigen sollte.",
    en: "Evidence counts only with its time and tools: without a right clock the times are worthless, and where a program or rights are missing, what it should show stays unmeasured.",
  },
  remedy: {
    de: "Richten Sie die Zeitsynchronisation ein (`timedatectl set-ntp true`), installieren Sie die fehlenden Programme und führen Sie die Prüfung als root aus.",
    en: "Set up time synchronisation (`timedatectl set-ntp true`), install the missing programs and run the audit as root.",
  },
  sentences: {
    synchronised: { de: "Die Uhr des Hosts ist synchronisiert.", en: "The host's clock is synchronised." },
    unsynchronised: {
      de: "Die Uhr des Hosts ist nicht synchronisiert; Zeitangaben sind nicht belastbar.",
      en: "The host's clock is not synchronised; times cannot be relied upon.",
    },
    "clock-unknown": {
      de: "Ob die Uhr des Hosts synchronisiert ist, ist nicht feststellbar (timedatectl antwortet nicht).",
      en: "Whether the host's clock is synchronised cannot be determined (timedatectl does not answer).",
    },
    "programs-present": {
      de: "Alle benötigten Programme sind vorhanden: {programs}.",
      en: "All programs that are needed are there: {programs}.",
    },
    "program-lacks": {
      de: "Das Programm {program} fehlt; Prüfungen, die es brauchen, bleiben unbestimmt.",
      en: "The program {program} is missing; checks that need it stay unknown.",
    },
    root: { de: "Die Prüfung lief als root.", en: "The audit ran as root." },
    "not-root": {
      de: "Die Prüfung lief nicht als root; manches war nicht lesbar.",
      en: "The audit did not run as root; some things could not be read.",
    },
  },
  collect: async ({ host }) => {
    const names = Object.keys(PROGRAMS);
    const [versions, id, clock, release, kernel] = await Promise.all([
      Promise.all(Object.values(PROGRAMS).map((argv) => host.run(argv))),
      host.run(["id", "-u"]),
      host.run(["timedatectl", "show", "--property=NTPSynchronized"]),
      host.file("/etc/os-release"),
      host.run(["uname", "-r"]),
    ]);
    const uid = said(id);
    const ntp = /^NTPSynchronized=(yes|no)$/m.exec(said(clock) ?? "")?.[1];
    return {
      programs: Object.fromEntries(names.map((name, i) => [name, said(versions[i]!)?.split("\n")[0] ?? null])),
      root: uid === null ? null : uid === "0",
      synchronised: ntp === undefined ? null : ntp === "yes",
      os: release.kind === "text" ? osName(release.text) : null,
      kernel: said(kernel),
    };
  },
  verdict: ({ programs, root, synchronised }) => {
    const remarks: Remark[] = [
      synchronised === null
        ? remark("unknown", "clock-unknown")
        : synchronised
          ? remark("pass", "synchronised")
          : remark("fail", "unsynchronised"),
    ];
    const entries = Object.entries(programs);
    const missing = entries.filter(([, version]) => version === null);
    for (const [name] of missing) remarks.push(remark("warn", "program-lacks", { program: value.program(name) }));
    const all = entries.map(([name]) => name).join(", ");
    if (missing.length === 0) remarks.push(remark("pass", "programs-present", { programs: value.program(all) }));
    remarks.push(root ? remark("pass", "root") : remark("warn", "not-root"));
    return verdictOf(remarks);
  },
};

function said(result: CommandResult): string | null {
  return result.kind === "ran" && result.exit === 0 ? result.stdout.trim() : null;
}

/** os-release(5) */
export function osName(text: string): string | null {
  const match = /^PRETTY_NAME=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(.*))$/m.exec(text);
  return match?.[1]?.replace(/\\(.)/g, "$1") ?? match?.[2] ?? match?.[3] ?? null;
}
