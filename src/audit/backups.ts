import { type DeclaredBackup, declaredPart } from "./declared.ts";
import type { AuditLayer, CheckContext, CommandResult, HostReader } from "./model.ts";
import { allLayers, encryptionOf, storageOf } from "./storage/layers.ts";

/** What is known of a declared backup of a guest. */
export interface BackupFacts {
  readonly name: string;
  readonly kind: DeclaredBackup["kind"];
  readonly place: string;
  readonly intervalHours: number;
  readonly offline: boolean;
  readonly appendOnly: boolean;
  readonly keyElsewhere: boolean;
  readonly hasPasswordFile: boolean;
  /** RFC 3339; null: none, or not known (see `problem`). */
  readonly last: string | null;
  /** The last run failed: what its unit says. */
  readonly failed: string | null;
  /** Why nothing is known of its age. */
  readonly problem: string | null;
  /** As its program names it: `repokey`, `none`; null: it has none of its own, or it is not known. */
  readonly encryption: string | null;
  /** Of the program's own encryption: whether what it writes can be read without a key. */
  readonly sealed: boolean | null;
  /** The place is not on this host. */
  readonly remote: boolean;
  /** Of the place on this host. */
  readonly target: {
    readonly encrypted: "yes" | "no" | "unknown";
    /** Names of disks at the bottom. */
    readonly disks: readonly string[];
    readonly removable: boolean;
  } | null;
}

export interface GuestBackups {
  readonly guest: string;
  /** Null: nothing was declared. */
  readonly backups: readonly BackupFacts[] | null;
  /** What is wrong with the declaration. */
  readonly wrong: { readonly where: string; readonly why: string } | null;
  /** Disks at the bottom of the guest's own storage. */
  readonly disks: readonly string[];
}

const MAX_ENTRIES = 10_000;

export async function collectBackups({ host, guest, declared }: CheckContext): Promise<GuestBackups> {
  const part = declaredPart(declared, "backups");
  const disks = [...new Set((guest?.disks ?? []).flatMap((d) => (d.layers === null ? [] : disksOf(d.layers))))];
  const base = { guest: guest?.name ?? "", disks };
  if (part.kind === "wrong") return { ...base, backups: null, wrong: { where: part.where, why: part.why } };
  if (part.kind === "nothing") return { ...base, backups: null, wrong: null };
  const own = part.value.filter((b) => b.guests === undefined || b.guests.includes(guest?.name ?? ""));
  const backups = await Promise.all(own.map((b) => factsOf(host, b, guest)));
  return { ...base, backups, wrong: null };
}

type Guest = CheckContext["guest"];
type Age = Pick<BackupFacts, "last" | "failed" | "problem" | "encryption" | "sealed">;

async function factsOf(host: HostReader, backup: DeclaredBackup, guest: Guest): Promise<BackupFacts> {
  const remote = isRemote(backup);
  const [age, target] = await Promise.all([
    ageOf(host, backup, guest),
    remote || backup.kind === "timer" ? null : targetOf(host, backup.place),
  ]);
  return {
    name: backup.name,
    kind: backup.kind,
    place: backup.place,
    intervalHours: backup.intervalHours,
    offline: backup.offline,
    appendOnly: backup.appendOnly,
    keyElsewhere: backup.keyElsewhere,
    hasPasswordFile: backup.passwordFile !== undefined,
    remote,
    target,
    ...age,
  };
}

/** borg: `ssh://host/…`, `user@host:path`; restic: `sftp:…`, `rest:https://…`, `s3:…`. */
function isRemote({ kind, place }: DeclaredBackup): boolean {
  if (kind === "borg") return /^ssh:\/\//.test(place) || /^[^/]*[^/:]:/.test(place);
  return kind === "restic" && /^[a-z0-9]+:/.test(place) && !place.startsWith("local:");
}

async function targetOf(host: HostReader, place: string): Promise<BackupFacts["target"]> {
  const path = place.replace(/^(local|file):(\/\/)?/, "");
  const layer = await (await storageOf(host)).under(path);
  const media = allLayers(layer).flatMap((l) => l.medium?.transport ?? []);
  return {
    encrypted: encryptionOf(layer),
    disks: disksOf(layer),
    removable: media.length > 0 && media.every((t) => t === "usb" || t === "mmc"),
  };
}

/** Serial numbers where they are known: a disk's name may change. */
function disksOf(layer: AuditLayer): string[] {
  return [...new Set(allLayers(layer).flatMap((l) => (l.kind === "disk" ? [l.medium?.serial ?? l.name] : [])))];
}

const NOTHING: Age = { last: null, failed: null, problem: null, encryption: null, sealed: null };

async function ageOf(host: HostReader, backup: DeclaredBackup, guest: Guest): Promise<Age> {
  switch (backup.kind) {
    case "borg":
      return borg(host, backup);
    case "restic":
      return restic(host, backup);
    case "timer":
      return timer(host, backup.place);
    case "file":
      return { ...NOTHING, ...(await newestFile(host, backup.place)) };
    case "unterbau":
      return { ...NOTHING, ...(await ownStore(host, backup.place, guest)) };
  }
}

/** What a program printed, or why it is of no use. */
function printed(result: CommandResult, program: string): { text: string } | { problem: string } {
  // env(1) ends with 127 when there is no such program.
  if (result.kind === "missing" || result.exit === 127) return { problem: `${program} is not installed` };
  if (result.exit !== 0)
    return { problem: result.stderr.trim().split("\n").at(-1) || `${program} ended with ${result.exit}` };
  return { text: result.stdout };
}

/** The newest of the times in a list of objects; borg prints the time of the host's zone without saying which, so it is run in UTC. */
function newest(text: string, listIn: string | null): string | null {
  try {
    const value: unknown = JSON.parse(text);
    const entries = listIn === null ? value : (value as Record<string, unknown> | null)?.[listIn];
    if (!Array.isArray(entries)) return null;
    const times = entries.slice(-MAX_ENTRIES).flatMap((e: { time?: unknown } | null) => {
      if (typeof e?.time !== "string") return [];
      const at = new Date(/(Z|[+-]\d\d:\d\d)$/.test(e.time) ? e.time : `${e.time}Z`);
      return Number.isNaN(at.getTime()) ? [] : [at.toISOString()];
    });
    return times.sort().at(-1) ?? null;
  } catch {
    return null;
  }
}

async function borg(host: HostReader, { place, passwordFile }: DeclaredBackup): Promise<Age> {
  // borg splits the command as a shell does.
  const pass = passwordFile === undefined ? [] : [`BORG_PASSCOMMAND=cat -- '${passwordFile.replaceAll("'", `'"'"'`)}'`];
  const run = (verb: string) => host.run(["env", "TZ=UTC", ...pass, "borg", "--bypass-lock", verb, "--json", place]);
  const [list, info] = await Promise.all([run("list"), run("info")]);
  const told = printed(list, "borg");
  if ("problem" in told) return { ...NOTHING, problem: told.problem };
  const mode =
    info.kind === "ran" && info.exit === 0 ? /"mode"\s*:\s*"([a-z0-9-]+)"/.exec(info.stdout)?.[1] : undefined;
  return {
    ...NOTHING,
    last: newest(told.text, "archives"),
    encryption: mode ?? null,
    // borg init(1): `none` and `authenticated` leave the data as it is.
    sealed: mode === undefined ? null : /^(repokey|keyfile)/.test(mode),
  };
}

async function restic(host: HostReader, { place, passwordFile }: DeclaredBackup): Promise<Age> {
  const pass = passwordFile === undefined ? [] : [`--password-file=${passwordFile}`];
  const told = printed(
    await host.run(["restic", "snapshots", "--json", "--no-lock", "--no-cache", `--repo=${place}`, ...pass]),
    "restic",
  );
  if ("problem" in told) return { ...NOTHING, problem: told.problem };
  // There is no restic repository without (restic, "Threat model").
  return { ...NOTHING, last: newest(told.text, null), encryption: "restic", sealed: true };
}

async function timer(host: HostReader, name: string): Promise<Age> {
  const unit = name.endsWith(".timer") ? name : `${name}.timer`;
  const show = (of: string, properties: string) =>
    host.run(["systemctl", "show", "--timestamp=unix", `--property=${properties}`, "--", of]);
  const told = printed(await show(unit, "LoadState,LastTriggerUSec,Unit"), "systemctl");
  if ("problem" in told) return { ...NOTHING, problem: told.problem };
  const value = (text: string, key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(text)?.[1] ?? "";
  if (value(told.text, "LoadState") !== "loaded") return { ...NOTHING, problem: `there is no ${unit}` };
  const service = value(told.text, "Unit");
  const ran = printed(await show(service, "Result,ExecMainExitTimestamp,ExecMainStatus"), "systemctl");
  const result = "text" in ran ? value(ran.text, "Result") : "";
  const ended = "text" in ran ? seconds(value(ran.text, "ExecMainExitTimestamp")) : null;
  return {
    ...NOTHING,
    // After a restart of the host systemd knows the timer's last start only.
    last: ended ?? seconds(value(told.text, "LastTriggerUSec")),
    failed: result === "" || result === "success" ? null : `${service}: ${result}`,
  };
}

/** `@1764000000` */
function seconds(text: string): string | null {
  const at = /^@(\d{1,12})$/.exec(text)?.[1];
  return at === undefined ? null : new Date(Number(at) * 1000).toISOString();
}

async function newestFile(host: HostReader, path: string): Promise<Partial<Age>> {
  const own = await host.stat(path);
  if (own === null) return { problem: `${path} is not there` };
  if (own.type !== "folder") return { last: own.modified };
  const names = (await host.list(path)) ?? [];
  const stats = await Promise.all(names.slice(0, MAX_ENTRIES).map((name) => host.stat(`${path}/${name}`)));
  return {
    last:
      stats
        .flatMap((s) => (s?.type === "file" ? [s.modified] : []))
        .sort()
        .at(-1) ?? null,
  };
}

/** A folder that `unterbau backup` writes into: a folder for each backup, whole when its manifest is there. */
async function ownStore(host: HostReader, path: string, guest: Guest): Promise<Partial<Age>> {
  const names = await host.list(path);
  if (names === null) return { problem: `${path} is not there` };
  const whole = names.filter((name) => !name.endsWith(".partial")).slice(-MAX_ENTRIES);
  const manifests = await Promise.all(whole.map((name) => host.file(`${path}/${name}/manifest.json`)));
  const dates = manifests.flatMap((file) => {
    if (file.kind !== "text") return [];
    try {
      const { schema, uuid, created } = JSON.parse(file.text) as Record<string, unknown>;
      return schema === "unterbau/backup-manifest/1" && uuid === guest?.uuid
        ? [new Date(String(created)).toISOString()]
        : [];
    } catch {
      return [];
    }
  });
  return { last: dates.sort().at(-1) ?? null };
}
