import { declaredPart } from "../declared.ts";
import type { AuditGuest, CheckContext, GuestFiles } from "../model.ts";
import { type ClientAccess, dovecotAccess, submissionAccess } from "./access.ts";
import { fixed, mailPaths, readDovecot } from "./dovecot.ts";
import {
  isOlder,
  LEVELS,
  type Level,
  levelOf,
  type MainCf,
  type MasterService,
  oldest,
  POSTFIX_DEFAULTS,
  type PolicyEntry,
  parameterOf,
  parseMainCf,
  parseMasterCf,
  parsePolicies,
  policyEntry,
  policyFor,
  tablesOf,
} from "./postfix.ts";
import { type SpamService, spamServices } from "./spam.ts";

/** What a guest's own configuration says of its mail. */
export interface MailFacts {
  /** Why it was not read: `not-asked`, `not-mail` (others of the host are declared to be), or what went wrong. */
  readonly problem: { readonly kind: "not-asked" | "not-mail" | "unreadable"; readonly why: string } | null;
  /** Postfix, Dovecot, SpamAssassin, rspamd. */
  readonly programs: readonly string[];
  readonly stores: readonly Store[];
  readonly transport: Transport | null;
  readonly access: readonly ClientAccess[];
  /** Parts of the configuration that could not be read. */
  readonly unread: readonly string[];
  readonly spam: readonly SpamService[];
}

/** A folder that holds mail. */
export interface Store {
  readonly path: string;
  /** The file system that it is on: as the guest's fstab has it; null: its root volume without an entry. */
  readonly mount: { readonly what: string; readonly where: string; readonly type: string } | null;
  /** `vda`; null: not one of the guest's disks. */
  readonly disk: string | null;
  /** Of that disk. */
  readonly encrypted: "yes" | "no" | "unknown" | null;
}

export interface Transport {
  /** Of what is sent where no policy says otherwise: the weakest of all clients. */
  readonly sending: Level;
  /** Where all is sent first; null: to each domain's own servers. */
  readonly relay: string | null;
  /** Levels of declared client domains, or of the relay. */
  readonly domains: readonly { readonly domain: string; readonly level: Level; readonly oldest: string }[];
  /** Of what is received. */
  readonly receiving: Level;
  /** The oldest protocol that is spoken, by Postfix' settings and the library's. */
  readonly oldestSent: string;
  readonly oldestReceived: string;
  /** Tables whose source is not there or of a kind that is not text. */
  readonly unreadTables: readonly string[];
}

const NONE = { programs: [], stores: [], transport: null, access: [], unread: [], spam: [] } as const;

export async function collectMail({ guest, declared, inside }: CheckContext): Promise<MailFacts> {
  const part = declaredPart(declared, "mail");
  const own =
    part.kind === "said" && Object.hasOwn(part.value, guest?.name ?? "") ? part.value[guest?.name ?? ""] : undefined;
  if (inside === null || guest === null) {
    const others = part.kind === "said" && own === undefined;
    return { ...NONE, problem: { kind: others ? "not-mail" : "not-asked", why: "" } };
  }
  if (inside.problem !== null) return { ...NONE, problem: { kind: "unreadable", why: inside.problem } };
  const [mainFile, masterFile, dovecot] = await Promise.all([
    inside.file("/etc/postfix/main.cf"),
    inside.file("/etc/postfix/master.cf"),
    readDovecot(inside),
  ]);
  const main = mainFile.kind === "text" ? parseMainCf(mainFile.text) : null;
  const services = parseMasterCf(masterFile.kind === "text" ? masterFile.text : "");
  const [spam, floor] = await Promise.all([spamServices(inside, main), libraryFloor(inside)]);
  const reading = dovecot === null ? null : dovecotAccess(dovecot, floor);
  const handing = main === null ? null : submissionAccess(main, services, (list) => newer(oldest(list), floor));
  const paths = [...(main === null ? [] : postfixPaths(main)), ...(dovecot === null ? [] : mailPaths(dovecot.values))];
  return {
    problem: null,
    programs: [...(main === null ? [] : ["Postfix"]), ...(dovecot === null ? [] : ["Dovecot"]), ...spam.programs],
    stores: await storesOf(inside, guest, [...new Set(paths)]),
    transport: main === null ? null : await transportOf(inside, main, services, floor, own?.tlsDomains ?? []),
    access: [reading, handing].filter((a) => a !== null),
    unread: dovecot?.unread ?? [],
    spam: spam.services,
  };
}

function postfixPaths(main: MainCf): string[] {
  const value = (name: string) => parameterOf(main, name, POSTFIX_DEFAULTS);
  const homes = value("home_mailbox") === "" ? [] : ["/home"];
  const virtual = value("virtual_mailbox_base");
  return [value("queue_directory"), value("mail_spool_directory"), ...homes, ...(virtual === "" ? [] : [virtual])].map(
    fixed,
  );
}

const MAX_MOUNTS = 1000;

async function storesOf(inside: GuestFiles, guest: AuditGuest, paths: readonly string[]): Promise<Store[]> {
  const fstab = await inside.file("/etc/fstab");
  const mounts = (fstab.kind === "text" ? fstab.text : "")
    .split("\n", MAX_MOUNTS)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .flatMap((line) => {
      const [what, where, type, options = ""] = line.split(/\s+/).map(unescaped);
      return what === undefined || where === undefined || type === undefined ? [] : [{ what, where, type, options }];
    });
  const mountOf = (path: string, depth = 0): (typeof mounts)[number] | null => {
    const above = mounts.filter((m) => path === m.where || path.startsWith(m.where === "/" ? "/" : `${m.where}/`));
    const found = above.sort((a, b) => b.where.length - a.where.length)[0] ?? null;
    const bound = found !== null && /(^|,)r?bind(,|$)/.test(found.options) && depth < 8;
    return bound ? mountOf(found.what + path.slice(found.where.length), depth + 1) : found;
  };
  return paths.map((path) => {
    const mount = mountOf(path);
    const disk = mount === null ? inside.diskOf("/") : inside.diskOf(mount.what);
    const encrypted = guest.disks.find((d) => d.target === disk)?.encrypted ?? null;
    return { path, mount: mount && { what: mount.what, where: mount.where, type: mount.type }, disk, encrypted };
  });
}

/** fstab(5): blanks are written in octal. */
function unescaped(word: string): string {
  return word.replace(/\\(0[0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

async function transportOf(
  inside: GuestFiles,
  main: MainCf,
  services: readonly MasterService[],
  floor: string,
  domains: readonly string[],
): Promise<Transport> {
  const value = (name: string) => parameterOf(main, name, POSTFIX_DEFAULTS);
  const of = (overrides: ReadonlyMap<string, string>) => (name: string) =>
    parameterOf(new Map([...main, ...overrides]), name, POSTFIX_DEFAULTS);
  const clients = services.filter((s) => s.command === "smtp").map((s) => levelOf("smtp", of(s.overrides)));
  // Only what others send to: port 25, not the users' submission.
  const servers = services
    .filter((s) => ["smtpd", "postscreen"].includes(s.command) && /(^|:)(smtp|25)$/.test(s.name))
    .map((s) => levelOf("smtpd", of(s.overrides)));
  const certificate = ["smtpd_tls_cert_file", "smtpd_tls_chain_files", "smtpd_tls_eccert_file"].some(
    (n) => value(n) !== "",
  );
  const { policies, unreadTables } = await policiesOf(inside, value("smtp_tls_policy_maps"));
  const sending = weakest(clients.length > 0 ? clients : [levelOf("smtp", value)]);
  const relay = value("relayhost") || null;
  const hops = relay === null ? domains : [relay];
  const spoken = (level: Level, protocols: string | null) =>
    newer(
      oldest(
        protocols ??
          value(
            LEVELS.indexOf(level) >= LEVELS.indexOf("encrypt") ? "smtp_tls_mandatory_protocols" : "smtp_tls_protocols",
          ),
      ),
      floor,
    );
  const receiving = certificate ? weakest(servers.length > 0 ? servers : [levelOf("smtpd", value)]) : "none";
  return {
    sending,
    relay,
    domains: hops.map((domain) => {
      const policy = policyFor(policies, domain);
      const level = policy?.level ?? sending;
      return { domain, level, oldest: spoken(level, policy?.protocols ?? null) };
    }),
    receiving,
    oldestSent: spoken(sending, null),
    oldestReceived: newer(oldest(value("smtpd_tls_protocols")), floor),
    unreadTables,
  };
}

function weakest(levels: readonly Level[]): Level {
  return LEVELS.find((l) => levels.includes(l)) ?? "none";
}

function newer(a: string, b: string): string {
  return isOlder(a, b) ? b : a;
}

async function policiesOf(inside: GuestFiles, maps: string) {
  const policies = new Map<string, PolicyEntry>();
  const unreadTables: string[] = [];
  for (const { type, name } of tablesOf(maps)) {
    if (type === "inline") {
      for (const pair of name.split(",")) {
        const [, key, entry] = /^\s*\{?\s*(\S+?)\s*=\s*(.*?)\s*\}?\s*$/.exec(pair) ?? [];
        if (key !== undefined && !policies.has(key)) policies.set(key.toLowerCase(), policyEntry(entry ?? ""));
      }
      continue;
    }
    // The compiled table lies beside its source; which of both is newer Postfix itself warns of.
    const text = ["hash", "btree", "lmdb", "cdb", "dbm", "texthash", "proxy"].includes(type);
    const file = text ? await inside.file(name.replace(/^\w+:/, "")) : null;
    if (file?.kind !== "text") unreadTables.push(`${type}:${name}`);
    else for (const [key, entry] of parsePolicies(file.text)) if (!policies.has(key)) policies.set(key, entry);
  }
  return { policies, unreadTables };
}

/** Releases whose OpenSSL is 3.0 or newer: at its security level 1 and above there is no TLS before 1.2 (OpenSSL 3.0, NEWS). */
const OPENSSL_3: Readonly<Record<string, number>> = {
  debian: 12,
  ubuntu: 22.04,
  fedora: 36,
  rhel: 9,
  centos: 9,
  rocky: 9,
  almalinux: 9,
};

/** What the library leaves of older protocols, whatever a program asks for. */
async function libraryFloor(inside: GuestFiles): Promise<string> {
  const [config, release] = await Promise.all([inside.file("/etc/ssl/openssl.cnf"), inside.file("/etc/os-release")]);
  const text = config.kind === "text" ? config.text.replace(/^\s*#.*$/gm, "") : "";
  const set = /^\s*MinProtocol\s*=\s*(TLSv1(?:\.\d)?)/m.exec(text)?.[1] ?? "SSLv2";
  const weak = /@SECLEVEL=0/.test(text);
  const of = (key: string) =>
    release.kind === "text" ? (new RegExp(`^${key}="?([^"\\n]*)`, "m").exec(release.text)?.[1] ?? "") : "";
  const since = OPENSSL_3[of("ID")];
  const three = since !== undefined && Number(of("VERSION_ID")) >= since;
  return three && !weak ? newer(set, "TLSv1.2") : set;
}
