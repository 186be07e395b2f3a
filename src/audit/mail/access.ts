import type { DovecotSettings } from "./dovecot.ts";
import { isOlder, levelOf, type MainCf, type MasterService, POSTFIX_DEFAULTS, parameterOf } from "./postfix.ts";

/** How users get at their mail: reading it by IMAP and POP3 (Dovecot), handing it in (Postfix, RFC 6409 and 8314). */
export interface ClientAccess {
  readonly what: "reading" | "submission";
  /** required: nothing passes in clear. offered: a client may do without, but its password may not. off: all may pass in clear. */
  readonly tls: "required" | "offered" | "off";
  /** The oldest protocol that is spoken; null: it is not said, and depends on the program's release. */
  readonly oldest: string | null;
}

/** Dovecot 2.3, "SSL configuration". */
const DEFAULT_SSL = "yes";
/** What `doveconf -d` of 2.3.19 says; of older releases TLSv1. Where the library allows nothing older it is the same. */
const DEFAULT_PROTOCOL = "TLSv1.2";
const ORDER = ["off", "offered", "required"] as const;

/** The weakest that it allows anywhere; null: it speaks neither IMAP nor POP3, or only to this machine. */
export function dovecotAccess({ values, narrowed }: DovecotSettings, floor: string): ClientAccess | null {
  const listens = (values.get("listen") ?? "*").split(/[\s,]+/).filter((a) => a !== "");
  if (listens.length > 0 && listens.every((a) => /^(127\.|::1$|\[::1\]$|localhost$)/.test(a))) return null;
  if (values.get("protocols")?.trim() === "none") return null;
  const said = (key: string) => [values.get(key) ?? null, ...narrowed.filter((n) => n.key === key).map((n) => n.value)];
  // 2.4 turned the question round: auth_allow_cleartext.
  const clear = [
    ...said("disable_plaintext_auth").map((v) => v !== null && !isOn(v)),
    ...said("auth_allow_cleartext").map((v) => v !== null && isOn(v)),
  ].includes(true);
  const levels = said("ssl").map((v): ClientAccess["tls"] => {
    const word = (v ?? DEFAULT_SSL).toLowerCase();
    if (word === "required") return "required";
    return isOn(word) && !clear ? "offered" : "off";
  });
  const [general, ...special] = said("ssl_min_protocol").map((v) => (v === null ? null : protocolOf(v)));
  const unsaid = general === null && isOlder(floor, DEFAULT_PROTOCOL);
  const protocols = [general ?? DEFAULT_PROTOCOL, ...special].filter((v) => v !== null && v !== undefined);
  return { what: "reading", tls: weakest(levels), oldest: unsaid ? null : newer(oldestOf(protocols), floor) };
}

/** Of the services that users hand mail in to: `submission`, port 587, and with TLS from the first byte `smtps`, port 465; null: there is none. */
export function submissionAccess(
  main: MainCf,
  services: readonly MasterService[],
  oldest: (protocols: string) => string,
): ClientAccess | null {
  const own = services.filter((s) => s.command === "smtpd" && /(^|:)(submissions?|smtps|587|465)$/.test(s.name));
  const remote = own.filter((s) => !/^(127\.[\d.]+|localhost|\[::1\]):/.test(s.name));
  if (remote.length === 0) return null;
  const all = remote.map(({ overrides }) => {
    const value = (name: string) => parameterOf(new Map([...main, ...overrides]), name, POSTFIX_DEFAULTS);
    const level = levelOf("smtpd", value);
    const required = isOn(value("smtpd_tls_wrappermode")) || level === "encrypt";
    const protected_ = level === "may" && isOn(value("smtpd_tls_auth_only"));
    const tls: ClientAccess["tls"] = required ? "required" : protected_ ? "offered" : "off";
    return { tls, oldest: oldest(value(required ? "smtpd_tls_mandatory_protocols" : "smtpd_tls_protocols")) };
  });
  return { what: "submission", tls: weakest(all.map((a) => a.tls)), oldest: oldestOf(all.map((a) => a.oldest)) };
}

function weakest(levels: readonly ClientAccess["tls"][]): ClientAccess["tls"] {
  return ORDER.find((l) => levels.includes(l)) ?? "off";
}

function oldestOf(protocols: readonly string[]): string {
  return protocols.reduce((a, b) => (isOlder(b, a) ? b : a));
}

function newer(a: string, b: string): string {
  return isOlder(a, b) ? b : a;
}

/** `ANY` is all that the library has; `LATEST` its newest. */
function protocolOf(text: string): string {
  if (/^any$/i.test(text)) return "SSLv2";
  return /^latest$/i.test(text) ? "TLSv1.3" : text;
}

function isOn(word: string): boolean {
  return ["yes", "true", "1", "y", "required"].includes(word.trim().toLowerCase());
}
