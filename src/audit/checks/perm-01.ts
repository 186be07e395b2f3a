import { PERM_01 } from "../catalogue/perm.ts";
import type { AuditDisk, AuditLayer, Check, CommandResult, HostReader, Remark } from "../model.ts";
import { type AclEntry, isPerson, membersOf, parseAccounts, parseAcl } from "../parse/accounts.ts";
import { parseLibvirtConf } from "../parse/settings.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface PathFacts {
  readonly path: string;
  /** Firmware variables that libvirt has not made yet: their folder is there and does not have them. */
  readonly notYet: boolean;
  /** A disc that the guest only reads, such as an installer's. */
  readonly disc: boolean;
  /** Null: not there, or not readable. */
  readonly mode: number | null;
  readonly owner: string;
  /** The owner is the account of a person. */
  readonly ofPerson: boolean;
  readonly group: string;
  /** Persons in the group. */
  readonly persons: readonly string[];
  /** Every folder above lets everybody through. */
  readonly reachable: boolean;
  /** Null: not asked. */
  readonly acl: readonly AclEntry[] | null;
}

interface Facts {
  readonly paths: readonly PathFacts[];
  /** getfacl is not there. */
  readonly noAcl: boolean;
  /** Accounts that guests run as. */
  readonly own: readonly string[];
}

const OTHERS_READ = 0o004;
const OTHERS_WRITE = 0o002;
const GROUP_READ = 0o040;
const PASS_OTHERS = 0o001;
/** Owners and groups of libvirt and of devices, on Debian, Fedora and SUSE. */
const SYSTEM = ["root", "libvirt-qemu", "qemu", "kvm", "disk"];

export const perm01: Check<Facts> = {
  ...PERM_01,
  about: "guest",
  explanation: {
    de: "Wer die Abbilddatei eines Gastes lesen darf, liest alle Daten des Gastes, auch ohne dessen Passwörter. Verschlüsselung des Datenträgers schützt davor nicht, solange der Host läuft.",
    en: "Whoever may read a guest's image reads all of the guest's data, without its passwords. Disk encryption does not prevent that while the host runs.",
  },
  remedy: {
    de: "Setzen Sie für Abbilder `chmod 0600` (höchstens 0660 mit der Gruppe libvirts), für ihren Ordner `chmod 0711` oder strenger, und entfernen Sie fremde ACL-Einträge mit `setfacl -b`.",
    en: "Set `chmod 0600` on images (at most 0660 with libvirt's group), `chmod 0711` or stricter on their folder, and take out foreign ACL entries with `setfacl -b`.",
  },
  sentences: {
    closed: {
      de: "{path} ist nur für {owner} und die Gruppe {group} zugänglich (Modus {mode}).",
      en: "{path} is accessible to {owner} and the group {group} only (mode {mode}).",
    },
    "others-write": {
      de: "Jeder auf dem Host darf {path} beschreiben (Modus {mode}).",
      en: "Everybody on the host may write {path} (mode {mode}).",
    },
    "others-read": {
      de: "Jeder auf dem Host darf {path} lesen (Modus {mode}).",
      en: "Everybody on the host may read {path} (mode {mode}).",
    },
    "disc-read": {
      de: "Jeder auf dem Host darf das Nur-Lese-Medium {path} lesen (Modus {mode}).",
      en: "Everybody on the host may read the read-only medium {path} (mode {mode}).",
    },
    "folder-only": {
      de: "Nur der Ordner hält andere von {path} fern; der Modus {mode} selbst erlaubt ihnen den Zugriff.",
      en: "Only the folder keeps others from {path}; its mode {mode} itself lets them in.",
    },
    person: {
      de: "{path} gehört {person}; dieses Benutzerkonto liest alle Daten des Gastes.",
      en: "{path} belongs to {person}; this account reads all of the guest's data.",
    },
    group: {
      de: "Mitglieder der Gruppe {group} dürfen {path} lesen: {persons}.",
      en: "Members of the group {group} may read {path}: {persons}.",
    },
    acl: {
      de: "Ein ACL-Eintrag gibt {person} Zugriff auf {path}.",
      en: "An ACL entry gives {person} access to {path}.",
    },
    "not-there": {
      de: "Nicht feststellbar: Die Rechte von {path} sind nicht lesbar.",
      en: "Cannot be determined: the rights of {path} cannot be read.",
    },
    "not-yet": {
      de: "{path} gibt es noch nicht: libvirt legt die Datei beim ersten Start des Gastes an; ihre Rechte sind erst danach messbar.",
      en: "{path} does not exist yet: libvirt makes it when the guest is started for the first time; its rights can be measured then.",
    },
    "no-paths": {
      de: "Der Gast hat keinen Datenträger auf diesem Host.",
      en: "The guest has no disk on this host.",
    },
  },
  collect: async ({ host, guest }) => {
    const disks = guest?.disks ?? [];
    const paths = [...new Set(disks.flatMap(pathsOf))];
    const variables = disks.filter((d) => d.device === "nvram").map((d) => d.place);
    const discs = disks.filter((d) => d.device === "cdrom" || d.device === "floppy").flatMap(pathsOf);
    const [passwd, group, conf] = await Promise.all([
      host.file("/etc/passwd"),
      host.file("/etc/group"),
      host.file("/etc/libvirt/qemu.conf"),
    ]);
    const accounts = parseAccounts(textOf(passwd), textOf(group));
    const user = parseLibvirtConf(textOf(conf)).get("user")?.replace(/^\+/, "");
    const found = await Promise.all(paths.map((path) => factsOf(host, path, discs.includes(path), accounts)));
    const mayLack = guest?.state === "shut off" ? variables : [];
    return {
      paths: await Promise.all(
        found.map(async ({ facts }) => ({
          ...facts,
          notYet: facts.mode === null && mayLack.includes(facts.path) && (await isAbsent(facts.path, host)),
        })),
      ),
      noAcl: found.some((f) => f.acl.kind === "missing"),
      own: user === undefined ? SYSTEM : [...SYSTEM, user],
    };
  },
  verdict: ({ paths, noAcl, own }) => {
    if (paths.length === 0) return verdictOf([remark("n-a", "no-paths")]);
    const remarks = paths.flatMap((p) => judge(p, own));
    return verdictOf(
      noAcl ? [...remarks, remark("unknown", "program-missing", { program: value.program("getfacl") })] : remarks,
    );
  },
};

function pathsOf(disk: AuditDisk): string[] {
  const images: string[] = [];
  const walk = (layer: AuditLayer) => {
    if (layer.kind !== "image" && layer.kind !== "backing image") return;
    if (layer.path !== null) images.push(layer.path);
    layer.below.forEach(walk);
  };
  if (disk.layers !== null) walk(disk.layers);
  return [...(disk.place.startsWith("/") ? [disk.place] : []), ...images];
}

async function factsOf(host: HostReader, path: string, disc: boolean, accounts: ReturnType<typeof parseAccounts>) {
  const real = (await host.real(path)) ?? path;
  const parents = real
    .split("/")
    .slice(1, -1)
    .map((_, i, all) => `/${all.slice(0, i + 1).join("/")}`);
  const [stat, acl, ...folders] = await Promise.all([
    host.stat(real),
    host.run(["getfacl", "--omit-header", "--absolute-names", "--", real]),
    ...parents.map((p) => host.stat(p)),
  ]);
  const group = accounts.groups.find((g) => g.gid === stat?.gid)?.name ?? String(stat?.gid ?? "?");
  const facts: PathFacts = {
    path,
    notYet: false,
    disc,
    mode: stat?.mode ?? null,
    owner: accounts.users.find((u) => u.uid === stat?.uid)?.name ?? String(stat?.uid ?? "?"),
    ofPerson: stat !== null && isPerson(stat.uid),
    group,
    persons: membersOf(accounts, group).filter((m) => isPerson(accounts.users.find((u) => u.name === m)?.uid ?? 0)),
    // A folder that cannot be seen keeps nobody out.
    reachable: folders.every((f) => f === null || (f.mode & PASS_OTHERS) !== 0),
    acl: acl.kind === "ran" && acl.exit === 0 ? parseAcl(acl.stdout) : null,
  };
  return { facts, acl: acl as CommandResult };
}

/** Its folder can be listed, and has no such file: what cannot be looked at may be there. */
async function isAbsent(path: string, host: HostReader): Promise<boolean> {
  const at = path.lastIndexOf("/");
  const names = await host.list(path.slice(0, at) || "/");
  return names !== null && !names.includes(path.slice(at + 1));
}

function judge(facts: PathFacts, own: readonly string[]): Remark[] {
  const { mode, reachable, persons } = facts;
  const path = value.path(facts.path);
  if (facts.notYet) return [remark("n-a", "not-yet", { path })];
  if (mode === null) return [remark("unknown", "not-there", { path })];
  const shown = { path, mode: value.text(mode.toString(8).padStart(4, "0")) };
  const remarks: Remark[] = [];
  if ((mode & (OTHERS_READ | OTHERS_WRITE)) !== 0) {
    if (!reachable) remarks.push(remark("warn", "folder-only", shown));
    else if ((mode & OTHERS_WRITE) !== 0) remarks.push(remark("fail", "others-write", shown));
    else remarks.push(facts.disc ? remark("warn", "disc-read", shown) : remark("fail", "others-read", shown));
  }
  if (facts.ofPerson && !own.includes(facts.owner))
    remarks.push(remark("fail", "person", { path, person: value.person(facts.owner) }));
  if ((mode & GROUP_READ) !== 0 && persons.length > 0)
    remarks.push(
      remark("warn", "group", { path, group: value.text(facts.group), persons: value.person(persons.join(", ")) }),
    );
  for (const entry of facts.acl ?? []) {
    if ((entry.read || entry.write) && !own.includes(entry.name))
      remarks.push(remark("fail", "acl", { path, person: value.person(`${entry.kind} ${entry.name}`) }));
  }
  if (remarks.length > 0) return remarks;
  return [remark("pass", "closed", { ...shown, owner: value.text(facts.owner), group: value.text(facts.group) })];
}

function textOf(file: { readonly kind: string; readonly text?: string }): string {
  return file.text ?? "";
}
