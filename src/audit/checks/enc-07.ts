import { ENC_07 } from "../catalogue/enc.ts";
import { declaredVolume } from "../declared-luks.ts";
import type { Check, CheckContext, Declared, FileStat, Remark } from "../model.ts";
import { stateRecords } from "../state-folders.ts";
import { type CryptVolume, luksVolumes, noVolumes, readHeader } from "../storage/crypt-volumes.ts";
import { allLayers, encryptionOf, type Storage, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Backup {
  readonly file: string;
  readonly there: boolean;
  readonly uuid: string | null;
  readonly epoch: number | null;
  readonly mode: number | null;
  readonly encrypted: "yes" | "no" | "unknown";
  /** Disks that it lies on. */
  readonly disks: readonly string[];
}

interface VolumeFacts {
  readonly name: string;
  readonly uuid: string | null;
  readonly epoch: number | null;
  readonly version: number | null;
  readonly disks: readonly string[];
  readonly problem: string | null;
  readonly backups: readonly Backup[];
}

interface Facts {
  readonly volumes: readonly VolumeFacts[];
  readonly known: boolean;
}

export const enc07: Check<Facts> = {
  ...ENC_07,
  about: "guest",
  explanation: {
    de: "Ein beschädigter Header macht alle Daten des Volumes unlesbar; nur eine Sicherung hilft. Zugleich öffnet eine alte Sicherung das Volume mit den damaligen Passphrasen, auch wenn sie inzwischen gelöscht sind: Sie muss aktuell, verschlüsselt und auf einem anderen Datenträger liegen.",
    en: "A damaged header makes all data of the volume unreadable; only a backup helps. At the same time an old backup opens the volume with the passphrases of its day, though they have been removed since: it has to be current, encrypted and on another disk.",
  },
  remedy: {
    de: "`unterbau header backup GERÄT --to ORDNER` sichert den Header auf einen verschlüsselten anderen Datenträger; vernichten Sie ältere Sicherungen. Tragen Sie den Ort in scope.yaml ein (`luks: {UUID: {headerBackups: [DATEI]}}`), bei abgezogenen Medien mit `headerBackupOffline: true`.",
    en: "`unterbau header backup DEVICE --to FOLDER` backs the header up to another, encrypted disk; destroy older backups. Name the place in scope.yaml (`luks: {UUID: {headerBackups: [FILE]}}`), with `headerBackupOffline: true` for media that are taken out.",
  },
  sentences: {
    current: {
      de: "{volume}: Die Header-Sicherung {file} ist aktuell, geschützt, verschlüsselt abgelegt und auf einem anderen Datenträger.",
      en: "{volume}: the header's backup {file} is current, protected, stored encrypted and on another disk.",
    },
    offline: {
      de: "{volume}: Eine Header-Sicherung liegt nach Erklärung auf einem abgezogenen Medium; gemessen wurde sie nicht.",
      en: "{volume}: a backup of the header is declared to be on a medium that is not attached; it was not measured.",
    },
    none: {
      de: "{volume}: Eine Header-Sicherung ist weder erklärt noch verzeichnet.",
      en: "{volume}: no backup of the header is declared or on record.",
    },
    gone: {
      de: "{volume}: Die Header-Sicherung {file} ist nicht da oder nicht lesbar.",
      en: "{volume}: the header's backup {file} is not there or cannot be read.",
    },
    other: {
      de: "{volume}: {file} sichert den Header eines anderen Volumes.",
      en: "{volume}: {file} is a backup of another volume's header.",
    },
    old: {
      de: "{volume}: Die Header-Sicherung {file} ist älter als der Header; frühere Passphrasen öffnen das Volume damit noch.",
      en: "{volume}: the header's backup {file} is older than the header; former passphrases still open the volume with it.",
    },
    several: {
      de: "{volume}: Es gibt {count} Header-Sicherungen; jede öffnet das Volume mit den Passphrasen ihrer Zeit.",
      en: "{volume}: there are {count} backups of the header; each opens the volume with the passphrases of its day.",
    },
    "same-disk": {
      de: "{volume}: Die Header-Sicherung {file} liegt auf demselben Datenträger wie das Volume.",
      en: "{volume}: the header's backup {file} lies on the same disk as the volume.",
    },
    readable: {
      de: "{volume}: Die Header-Sicherung {file} ist für andere lesbar.",
      en: "{volume}: others can read the header's backup {file}.",
    },
    plain: {
      de: "{volume}: Die Header-Sicherung {file} liegt unverschlüsselt.",
      en: "{volume}: the header's backup {file} lies unencrypted.",
    },
    "place-unknown": {
      de: "{volume}: Worauf die Header-Sicherung {file} liegt, ist nicht feststellbar.",
      en: "{volume}: what the header's backup {file} lies on cannot be determined.",
    },
    "no-header": {
      de: "Der Header von {volume} ist nicht lesbar ({reason}).",
      en: "The header of {volume} cannot be read ({reason}).",
    },
  },
  collect: async ({ guest, host, declared }) => {
    const storage = await storageOf(host);
    const { volumes, known } = await luksVolumes(guest, host, storage);
    const records = volumes.length === 0 ? [] : await recordsOf(host);
    return { volumes: await Promise.all(volumes.map((v) => factsOf(v, records, host, declared, storage))), known };
  },
  verdict: ({ volumes, known }, { declared }) =>
    verdictOf(volumes.length === 0 ? [noVolumes(known)] : volumes.flatMap((v) => judge(v, declared))),
};

async function factsOf(
  volume: CryptVolume,
  records: readonly { uuid: string; file: string }[],
  host: CheckContext["host"],
  declared: Declared | null,
  storage: Storage,
): Promise<VolumeFacts> {
  const { name, header, device, problem } = volume;
  const uuid = header?.uuid ?? volume.deviceUuid;
  const named = declaredVolume(declared, uuid, name)?.headerBackups ?? [];
  const files = new Set([...named, ...records.flatMap((r) => (r.uuid === uuid ? r.file : []))]);
  const backups = await Promise.all([...files].map((file) => backupOf(file, host, storage)));
  const disks = device === null ? [] : disksOf(await storage.under(device));
  return { name, uuid, epoch: header?.epoch ?? null, version: header?.version ?? null, disks, problem, backups };
}

async function backupOf(file: string, host: CheckContext["host"], storage: Storage): Promise<Backup> {
  const [stat, { header }]: [FileStat | null, { header: CryptVolume["header"] }] = await Promise.all([
    host.stat(file),
    readHeader(file, host),
  ]);
  const under = stat === null ? null : await storage.under(file);
  return {
    file,
    there: stat !== null && header !== null,
    uuid: header?.uuid ?? null,
    epoch: header?.epoch ?? null,
    mode: stat?.mode ?? null,
    encrypted: under === null ? "unknown" : encryptionOf(under),
    disks: under === null ? [] : disksOf(under),
  };
}

function disksOf(layer: Parameters<typeof allLayers>[0]): string[] {
  return [...new Set(allLayers(layer).flatMap((l) => (l.kind === "disk" ? l.name : [])))].sort();
}

/** What `unterbau header backup` has on record. */
async function recordsOf(host: CheckContext["host"]): Promise<{ uuid: string; file: string }[]> {
  const paths = await stateRecords(host, "headers/index", ".json");
  const files = await Promise.all(paths.map((path) => host.file(path)));
  return files.flatMap((file) => {
    if (file.kind !== "text") return [];
    try {
      const { uuid, file: path } = JSON.parse(file.text) as Record<string, unknown>;
      return typeof uuid === "string" && typeof path === "string" && path.startsWith("/") ? [{ uuid, file: path }] : [];
    } catch {
      return [];
    }
  });
}

function judge(
  { name, uuid, epoch, version, disks, problem, backups }: VolumeFacts,
  declared: Declared | null,
): Remark[] {
  const volume = value.text(name);
  if (version === null) return [remark("unknown", "no-header", { volume, reason: value.path(problem ?? "?") })];
  if (backups.length === 0) {
    // What cannot be measured is said, and does not pass.
    const offline = declaredVolume(declared, uuid, name)?.headerBackupOffline;
    return [offline ? remark("unknown", "offline", { volume }) : remark("fail", "none", { volume })];
  }
  const found: Remark[] = [];
  for (const backup of backups) {
    const file = value.path(backup.file);
    const say = (state: Remark["state"], code: string) => found.push(remark(state, code, { volume, file }));
    if (!backup.there) {
      say("fail", "gone");
      continue;
    }
    if (backup.uuid !== uuid) {
      say("fail", "other");
      continue;
    }
    if (((backup.mode ?? 0) & 0o077) !== 0) say("fail", "readable");
    if (backup.encrypted === "no") say("fail", "plain");
    if (backup.encrypted === "unknown") say("unknown", "place-unknown");
    if (backup.epoch !== epoch) say("warn", "old");
    if (backup.disks.some((d) => disks.includes(d))) say("warn", "same-disk");
  }
  if (backups.length > 1) found.push(remark("warn", "several", { volume, count: value.number(backups.length) }));
  return found.length > 0 ? found : [remark("pass", "current", { volume, file: value.path(backups[0]!.file) })];
}
