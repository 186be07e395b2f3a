/** Values of main.cf by name (postconf(5)): raw, with `$name` in them. */
export type MainCf = ReadonlyMap<string, string>;

const MAX_LINES = 20_000;

/** Lines that begin with white space go on with the one before; later ones replace earlier ones. */
export function parseMainCf(text: string): MainCf {
  const found = new Map<string, string>();
  for (const line of logicalLines(text)) {
    const [, name, value = ""] = /^([A-Za-z0-9_]+)\s*=\s*([\s\S]*)$/.exec(line) ?? [];
    if (name !== undefined) found.set(name, value.trim());
  }
  return found;
}

/** postconf(5), "main.cf file format", which is that of master(5) and of tables (postmap(1)) as well. */
export function logicalLines(text: string): string[] {
  const found: string[] = [];
  for (const line of text.split("\n", MAX_LINES)) {
    if (/^\s*(#|$)/.test(line)) continue;
    if (/^\s/.test(line) && found.length > 0) found[found.length - 1] += ` ${line.trim()}`;
    else found.push(line.trimEnd());
  }
  return found;
}

/** Expressions nest a few levels in practice. */
const MAX_DEPTH = 20;

/** A parameter with `$name`, `${name}`, `${name?then}`, `${name:else}` filled in; a name that is not set has its default. */
export function parameterOf(main: MainCf, name: string, defaults: Readonly<Record<string, string>>, depth = 0): string {
  const raw = main.get(name) ?? (Object.hasOwn(defaults, name) ? (defaults[name] ?? "") : "");
  if (depth > MAX_DEPTH) return "";
  const of = (other: string) => parameterOf(main, other, defaults, depth + 1);
  return raw.replace(
    /\$\$|\$\{(\w+)([?:])\{?([^{}]*)\}?\}|\$\{(\w+)\}|\$\((\w+)\)|\$(\w+)/g,
    (all, cond, sign, text, a, b, c) => {
      if (all === "$$") return "$";
      if (cond === undefined) return of(a ?? b ?? c);
      return (of(cond) !== "") === (sign === "?") ? text : "";
    },
  );
}

/** Defaults of Postfix 3.7.11 (`postconf -d`) of the parameters that are looked at. */
export const POSTFIX_DEFAULTS: Readonly<Record<string, string>> = {
  queue_directory: "/var/spool/postfix",
  mail_spool_directory: "/var/mail",
  smtp_tls_protocols: ">=TLSv1",
  smtp_tls_mandatory_protocols: ">=TLSv1",
  smtpd_tls_protocols: ">=TLSv1",
  smtpd_tls_mandatory_protocols: ">=TLSv1",
  smtp_use_tls: "no",
  smtp_enforce_tls: "no",
  smtpd_use_tls: "no",
  smtpd_enforce_tls: "no",
};

export interface MasterService {
  readonly name: string;
  /** `smtp`, `smtpd`, `lmtp` … */
  readonly command: string;
  readonly type: string;
  /** Values of `-o`. */
  readonly overrides: ReadonlyMap<string, string>;
}

/** master(5) */
export function parseMasterCf(text: string): MasterService[] {
  return logicalLines(text).flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const [name = "", type = "", , , , , , command] = words;
    if (command === undefined) return [];
    const overrides = new Map<string, string>();
    const rest = line.slice(line.indexOf(command) + command.length);
    for (const [, k1, v1, k2, v2] of rest.matchAll(/-o\s*\{\s*(\w+)\s*=\s*([^}]*)\}|-o\s*(\w+)=(\S*)/g))
      overrides.set(k1 ?? k2 ?? "", (v1 ?? v2 ?? "").trim());
    return [{ name, type, command, overrides }];
  });
}

/** From none to a verified name (postconf(5), smtp_tls_security_level). */
export const LEVELS = ["none", "may", "dane", "encrypt", "dane-only", "fingerprint", "verify", "secure"] as const;
export type Level = (typeof LEVELS)[number];

/** The level that these values mean; older parameters count where the newer one is empty. */
export function levelOf(side: "smtp" | "smtpd", value: (name: string) => string): Level {
  const said = value(`${side}_tls_security_level`).toLowerCase();
  if (said !== "") return LEVELS.find((l) => l === said) ?? "none";
  if (value(`${side}_enforce_tls`) === "yes") return side === "smtp" ? "verify" : "encrypt";
  return value(`${side}_use_tls`) === "yes" ? "may" : "none";
}

const VERSIONS = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;

/** The oldest protocol that a list allows: `>=TLSv1.2`, `!SSLv2, !SSLv3`, `TLSv1.2 TLSv1.3`. */
export function oldest(list: string): (typeof VERSIONS)[number] {
  const words = list.split(/[\s,:]+/).filter((w) => w !== "");
  const at = (name: string) => VERSIONS.findIndex((v) => v.toLowerCase() === name.toLowerCase());
  const named = words.filter((w) => at(w) >= 0);
  let allowed: readonly string[] =
    named.length > 0 ? VERSIONS.filter((v) => named.some((n) => at(n) === at(v))) : VERSIONS;
  for (const word of words) {
    if (word.startsWith("!")) allowed = allowed.filter((v) => at(v) !== at(word.slice(1)));
    const floor = /^>=(.*)$/.exec(word)?.[1];
    // `>=0303` is TLS 1.2.
    const hex = floor === undefined ? null : /^0?x?03(0[0-4])$/i.exec(floor)?.[1];
    const from = hex === null || hex === undefined ? at(floor ?? "") : Number(hex) + 1;
    if (floor !== undefined && from >= 0) allowed = allowed.filter((v) => at(v) >= from);
  }
  return VERSIONS.find((v) => allowed.includes(v)) ?? "TLSv1.3";
}

/** Whether `a` is older than `b` (`1.2`, `TLSv1.2`). */
export function isOlder(a: string, b: string): boolean {
  const at = (name: string) => VERSIONS.findIndex((v) => v.replace("TLSv", "") === name.replace("TLSv", ""));
  return at(a) < at(b);
}

export interface PolicyEntry {
  readonly level: Level;
  readonly protocols: string | null;
}

/** A table of TLS policies (postconf(5), smtp_tls_policy_maps), from its source. */
export function parsePolicies(text: string): ReadonlyMap<string, PolicyEntry> {
  const found = new Map<string, PolicyEntry>();
  for (const line of logicalLines(text)) {
    const [, key, rest] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    if (key === undefined || rest === undefined) continue;
    found.set(key.toLowerCase(), policyEntry(rest));
  }
  return found;
}

export function policyEntry(text: string): PolicyEntry {
  const [word = "", ...attributes] = text.trim().split(/\s+/);
  const protocols = attributes.flatMap((a) => /^protocols=(.*)$/.exec(a)?.[1] ?? [])[0] ?? null;
  return { level: LEVELS.find((l) => l === word.toLowerCase()) ?? "none", protocols };
}

/** As Postfix looks a next hop up: as it is, without brackets and port, then parents as `.example.com`. */
export function policyFor(policies: ReadonlyMap<string, PolicyEntry>, hop: string): PolicyEntry | null {
  const host = hop.replace(/^\[(.*)\](:\w+)?$/, "$1").replace(/:\w+$/, "");
  const exact = policies.get(hop.toLowerCase()) ?? policies.get(host.toLowerCase());
  if (exact !== undefined) return exact;
  const labels = host.toLowerCase().split(".");
  for (let i = 1; i < labels.length; i++) {
    const parent = policies.get(`.${labels.slice(i).join(".")}`);
    if (parent !== undefined) return parent;
  }
  return null;
}

/** Names of tables in a value: `hash:/etc/postfix/tls_policy`; a bare path has the default type. */
export function tablesOf(value: string): { readonly type: string; readonly name: string }[] {
  return [...value.matchAll(/(\w+):\{([^}]*)\}|(\w+):([^\s,]+)|(\/[^\s,]+)/g)].map(([, t1, inner, t2, name, bare]) => ({
    type: t1 ?? t2 ?? "hash",
    name: inner ?? name ?? bare ?? "",
  }));
}
