import { PERM_02 } from "../catalogue/perm.ts";
import { declaredPart } from "../declared.ts";
import type { Check, HostReader, Remark } from "../model.ts";
import { isPerson, membersOf, parseAccounts } from "../parse/accounts.ts";
import { isLoopback, type Listener, parseLibvirtConf, parseListeners } from "../parse/settings.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** Null: ss did not answer. */
  readonly listeners: readonly Listener[] | null;
  /** Files of libvirt's daemons in which `listen_tcp` is on. */
  readonly listenTcp: readonly string[];
  /** Sockets for management that everybody may write, without asking who it is. */
  readonly openSockets: readonly string[];
  /** Rules of polkit, of the host's own, that name libvirt. */
  readonly polkit: readonly string[];
  /** Persons who may manage guests, by the group that lets them; null: accounts are not readable. */
  readonly members: Readonly<Record<string, readonly string[]>> | null;
  /** `sshd -T`: null: it did not answer. */
  readonly sshPasswords: boolean | null;
}

const DAEMONS = ["libvirtd.conf", "virtproxyd.conf", "virtqemud.conf"];
const SOCKETS = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock", "/run/libvirt/virtproxyd-sock"];
const POLKIT = ["/etc/polkit-1/rules.d", "/etc/polkit-1/localauthority/50-local.d"];
const GROUPS = ["libvirt", "kvm", "disk"];
/** libvirt's own ports, TCP and TLS. */
const TCP_PORT = 16509;
const TLS_PORT = 16514;

export const perm02: Check<Facts> = {
  ...PERM_02,
  about: "host",
  explanation: {
    de: "Wer libvirt bedient, herrscht über alle Gäste: Er kann ihre Datenträger lesen, ihre Konsolen öffnen und sie kopieren. Der Kreis dieser Personen und Wege muss klein und bekannt sein.",
    en: "Whoever operates libvirt rules all guests: they can read their disks, open their consoles and copy them. The circle of these people and ways must be small and known.",
  },
  remedy: {
    de: "Schalten Sie `listen_tcp` ab, lassen Sie VNC und SPICE nur auf 127.0.0.1 lauschen, nehmen Sie überzählige Konten aus den Gruppen libvirt, kvm und disk, und stellen Sie SSH auf Schlüssel um (`PasswordAuthentication no`).",
    en: "Turn `listen_tcp` off, let VNC and SPICE listen on 127.0.0.1 only, take needless accounts out of the groups libvirt, kvm and disk, and move SSH to keys (`PasswordAuthentication no`).",
  },
  sentences: {
    local: {
      de: "libvirt, VNC und SPICE sind nur auf diesem Host selbst erreichbar.",
      en: "libvirt, VNC and SPICE can be reached on this host only.",
    },
    "listen-tcp": {
      de: "In {file} ist die unverschlüsselte Fernverwaltung eingeschaltet (listen_tcp).",
      en: "In {file} remote management without encryption is on (listen_tcp).",
    },
    "libvirt-tcp": {
      de: "libvirt lauscht unverschlüsselt auf {address}.",
      en: "libvirt listens without encryption on {address}.",
    },
    "libvirt-tls": {
      de: "libvirt ist mit Zertifikaten über das Netz erreichbar ({address}).",
      en: "libvirt can be reached over the network with certificates ({address}).",
    },
    console: {
      de: "Die Konsole eines Gastes ist über das Netz erreichbar: {program} lauscht auf {address}.",
      en: "A guest's console can be reached over the network: {program} listens on {address}.",
    },
    "open-socket": {
      de: "Jeder auf dem Host darf ohne Anmeldung über {path} Gäste verwalten.",
      en: "Everybody on the host may manage guests through {path} without authentication.",
    },
    polkit: {
      de: "Eine eigene Regel von polkit betrifft libvirt: {path}. Prüfen Sie, wem sie etwas erlaubt.",
      en: "A polkit rule of this host is about libvirt: {path}. Check whom it allows what.",
    },
    declared: {
      de: "Gäste verwalten dürfen außer root nur erklärte Konten: {persons}.",
      en: "Beside root only declared accounts may manage guests: {persons}.",
    },
    nobody: { de: "Gäste verwalten darf nur root.", en: "Only root may manage guests." },
    additional: {
      de: "Über die Gruppe {group} darf auch {person} auf die Gäste zugreifen; das ist nicht erklärt.",
      en: "Through the group {group} {person} too may get at the guests; that is not declared.",
    },
    "ssh-passwords": {
      de: "SSH nimmt auf diesem Host Passwörter an.",
      en: "SSH takes passwords on this host.",
    },
    "ssh-keys": { de: "SSH nimmt auf diesem Host nur Schlüssel an.", en: "SSH takes keys only on this host." },
    "ssh-unknown": {
      de: "Nicht feststellbar: Ob SSH Passwörter annimmt (`sshd -T` antwortet nicht; führen Sie die Prüfung als root aus).",
      en: "Cannot be determined: whether SSH takes passwords (`sshd -T` does not answer; run the audit as root).",
    },
    "accounts-unread": {
      de: "Nicht feststellbar: Die Konten des Hosts sind nicht lesbar.",
      en: "Cannot be determined: the host's accounts cannot be read.",
    },
    "admins-not-understood": {
      de: "Nicht beurteilbar: Die Erklärung ist fehlerhaft ({where}: {why}).",
      en: "Cannot be judged: the declaration is wrong ({where}: {why}).",
    },
  },
  collect: async ({ host }) => {
    const [ss, ssh, confs, sockets, polkit, passwd, group] = await Promise.all([
      host.run(["ss", "-Htlnp"]),
      host.run(["sshd", "-T"]),
      Promise.all(DAEMONS.map(async (name) => ({ name, file: await host.file(`/etc/libvirt/${name}`) }))),
      Promise.all(SOCKETS.map(async (path) => ({ path, stat: await host.stat(path) }))),
      Promise.all(POLKIT.map((folder) => rulesAbout(host, folder))),
      host.file("/etc/passwd"),
      host.file("/etc/group"),
    ]);
    const settings = confs.map(({ name, file }) => ({
      name: `/etc/libvirt/${name}`,
      values: parseLibvirtConf(file.kind === "text" ? file.text : ""),
    }));
    const asks = !settings.some((s) => s.values.get("auth_unix_rw") === "none");
    const readable = passwd.kind === "text" && group.kind === "text";
    const accounts = readable ? parseAccounts(passwd.text, group.text) : null;
    const isMember = (name: string) => isPerson(accounts?.users.find((u) => u.name === name)?.uid ?? 0);
    return {
      listeners: ss.kind === "ran" && ss.exit === 0 ? parseListeners(ss.stdout) : null,
      listenTcp: settings.filter((s) => s.values.get("listen_tcp") === "1").map((s) => s.name),
      openSockets: asks ? [] : sockets.filter((s) => ((s.stat?.mode ?? 0) & 0o002) !== 0).map((s) => s.path),
      polkit: polkit.flat(),
      members:
        accounts &&
        Object.fromEntries(GROUPS.map((name) => [name, membersOf(accounts, name).filter(isMember)] as const)),
      sshPasswords: ssh.kind === "ran" && ssh.exit === 0 ? /^passwordauthentication yes$/m.test(ssh.stdout) : null,
    };
  },
  verdict: (facts, rules) => {
    const remarks: Remark[] = [];
    const { listeners, members } = facts;
    if (listeners === null) remarks.push(remark("unknown", "program-missing", { program: value.program("ss") }));
    const remote = (listeners ?? []).filter((l) => !isLoopback(l.address));
    const at = (l: Listener) => ({ address: value.address(`${l.address}:${l.port}`) });
    for (const l of remote.filter((r) => r.port === TCP_PORT)) remarks.push(remark("fail", "libvirt-tcp", at(l)));
    for (const l of remote.filter((r) => r.port === TLS_PORT)) remarks.push(remark("warn", "libvirt-tls", at(l)));
    for (const l of remote.filter(isConsole))
      remarks.push(remark("fail", "console", { ...at(l), program: value.program(l.programs[0] ?? "?") }));
    for (const file of facts.listenTcp) remarks.push(remark("fail", "listen-tcp", { file: value.path(file) }));
    for (const path of facts.openSockets) remarks.push(remark("fail", "open-socket", { path: value.path(path) }));
    for (const path of facts.polkit) remarks.push(remark("warn", "polkit", { path: value.path(path) }));
    if (listeners !== null && remarks.every((r) => r.code === "polkit")) remarks.push(remark("pass", "local"));
    remarks.push(...ssh(facts));
    if (members === null) return verdictOf([...remarks, remark("unknown", "accounts-unread")]);
    const admins = declaredPart(rules.declared, "admins");
    if (admins.kind === "wrong") {
      const { where, why } = admins;
      return verdictOf([
        ...remarks,
        remark("unknown", "admins-not-understood", { where: value.text(where), why: value.text(why) }),
      ]);
    }
    const known = admins.kind === "said" ? admins.value : [];
    const all = Object.entries(members).flatMap(([group, names]) => names.map((person) => ({ group, person })));
    const extra = all.filter(({ person }) => !known.includes(person));
    for (const { group, person } of extra)
      remarks.push(remark("warn", "additional", { group: value.text(group), person: value.person(person) }));
    if (all.length === 0) remarks.push(remark("pass", "nobody"));
    else if (extra.length === 0)
      remarks.push(
        remark("pass", "declared", { persons: value.person([...new Set(all.map((a) => a.person))].join(", ")) }),
      );
    return verdictOf(remarks);
  },
};

/** VNC and SPICE displays count from 5900 (libvirt, remote_display_port_min); nobody else's programs are called so. */
function isConsole({ port, programs }: Listener): boolean {
  return programs.some((p) => p.startsWith("qemu")) || (programs.length === 0 && port >= 5900 && port < 6000);
}

function ssh({ sshPasswords, listeners }: Facts): Remark[] {
  if (sshPasswords !== null) return [sshPasswords ? remark("warn", "ssh-passwords") : remark("pass", "ssh-keys")];
  const runs = (listeners ?? []).some((l) => l.port === 22 || l.programs.includes("sshd"));
  return runs ? [remark("unknown", "ssh-unknown")] : [];
}

async function rulesAbout(host: HostReader, folder: string): Promise<string[]> {
  const names = (await host.list(folder)) ?? [];
  const files = await Promise.all(names.map((name) => host.file(`${folder}/${name}`)));
  return names
    .filter((_, i) => {
      const file = files[i];
      return file?.kind === "text" && file.text.includes("org.libvirt");
    })
    .map((name) => `${folder}/${name}`);
}
