import { MAIL_02 } from "../catalogue/mail.ts";
import type { ClientAccess } from "../mail/access.ts";
import { collectMail, type MailFacts, type Transport } from "../mail/facts.ts";
import { MAIL_SENTENCES, notRead } from "../mail/judge.ts";
import { isOlder, LEVELS, type Level } from "../mail/postfix.ts";
import type { Check, Remark, State } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

/** These do not fall back to sending in clear; `dane` does where the other side has no record of it. */
const ENFORCED: readonly Level[] = ["dane", "encrypt", "dane-only", "fingerprint", "verify", "secure"];

export const mail02: Check<MailFacts> = {
  ...MAIL_02,
  about: "guest",
  explanation: {
    de: "Mails reisen von Server zu Server. Wird Verschlüsselung dabei nur angeboten, kann ein Angreifer sie abschalten, ohne dass es jemand merkt; für Partner mit personenbezogenen Daten sollte sie Pflicht sein.",
    en: "Mail travels from server to server. Where encryption is only offered an attacker can switch it off unnoticed; for partners with personal data it should be mandatory.",
  },
  remedy: {
    de: "Setzen Sie in main.cf `smtp_tls_security_level = may`, `smtpd_tls_security_level = may`, `smtp_tls_protocols = >=TLSv1.2` (ebenso die anderen drei), in Dovecot `ssl = required`, und tragen Sie die Domains Ihrer Auftraggeber mit `encrypt` oder `secure` in `smtp_tls_policy_maps` ein.",
    en: "Set `smtp_tls_security_level = may`, `smtpd_tls_security_level = may`, `smtp_tls_protocols = >=TLSv1.2` (and the other three) in main.cf, `ssl = required` in Dovecot, and enter your clients' domains with `encrypt` or `secure` in `smtp_tls_policy_maps`.",
  },
  sentences: {
    ...MAIL_SENTENCES,
    "no-postfix": {
      de: "In diesem Gast ist weder Postfix noch Dovecot eingerichtet.",
      en: "Neither Postfix nor Dovecot is set up in this guest.",
    },
    enforced: {
      de: "Mails an {domain} werden nur verschlüsselt übertragen ({level}).",
      en: "Mail to {domain} is sent encrypted only ({level}).",
    },
    "relay-enforced": {
      de: "Alle Mails gehen nur verschlüsselt an den Relay {domain} ({level}); was danach geschieht, ist hier nicht zu messen.",
      en: "All mail goes to the relay {domain}, encrypted only ({level}); what happens afterwards cannot be measured here.",
    },
    opportunistic: {
      de: "Mails an {domain} werden verschlüsselt, wenn die Gegenseite es anbietet, sonst im Klartext ({level}).",
      en: "Mail to {domain} is encrypted when the other side offers it, else it goes in clear ({level}).",
    },
    "not-encrypted": {
      de: "Mails an {domain} werden im Klartext übertragen ({level}).",
      en: "Mail to {domain} is sent in clear ({level}).",
    },
    "default-enforced": {
      de: "Mails an alle Domains werden nur verschlüsselt übertragen ({level}).",
      en: "Mail to all domains is sent encrypted only ({level}).",
    },
    "default-opportunistic": {
      de: "Keine Domain von Auftraggebern ist erklärt; allgemein wird verschlüsselt, wenn die Gegenseite es anbietet ({level}).",
      en: "No domain of clients is declared; generally mail is encrypted when the other side offers it ({level}).",
    },
    "sending-off": {
      de: "Beim Senden ist TLS abgeschaltet ({level}).",
      en: "TLS is switched off for sending ({level}).",
    },
    offered: { de: "Beim Empfang wird STARTTLS angeboten.", en: "STARTTLS is offered when receiving." },
    "receiving-off": {
      de: "Beim Empfang wird kein TLS angeboten.",
      en: "No TLS is offered when receiving.",
    },
    "old-sent": {
      de: "Beim Senden an {domain} ist noch {protocol} erlaubt.",
      en: "{protocol} is still allowed when sending to {domain}.",
    },
    "old-received": {
      de: "Beim Empfang ist noch {protocol} erlaubt.",
      en: "{protocol} is still allowed when receiving.",
    },
    recent: {
      de: "Ältere Protokolle als {protocol} sind abgeschaltet.",
      en: "Protocols older than {protocol} are switched off.",
    },
    "reading-required": {
      de: "Mails werden von Benutzern nur verschlüsselt abgerufen (Dovecot: ssl = required).",
      en: "Users fetch mail encrypted only (Dovecot: ssl = required).",
    },
    "reading-offered": {
      de: "Beim Abruf von Mails wird TLS angeboten und für Passwörter verlangt, aber nicht für alles (Dovecot: ssl ist nicht required).",
      en: "TLS is offered when mail is fetched, and asked for with passwords, but not for everything (Dovecot: ssl is not required).",
    },
    "reading-off": {
      de: "Passwörter und Mails können beim Abruf im Klartext übertragen werden (Dovecot).",
      en: "Passwords and mail may go in clear when mail is fetched (Dovecot).",
    },
    "submission-required": {
      de: "Benutzer liefern Mails nur verschlüsselt ein (Postfix: submission).",
      en: "Users hand mail in encrypted only (Postfix: submission).",
    },
    "submission-offered": {
      de: "Bei der Einlieferung von Mails wird TLS angeboten und für Passwörter verlangt, aber nicht für alles (Postfix: submission).",
      en: "TLS is offered when mail is handed in, and asked for with passwords, but not for everything (Postfix: submission).",
    },
    "submission-off": {
      de: "Passwörter und Mails können bei der Einlieferung im Klartext übertragen werden (Postfix: submission).",
      en: "Passwords and mail may go in clear when mail is handed in (Postfix: submission).",
    },
    "access-unsaid": {
      de: "Nicht feststellbar: Das älteste erlaubte Protokoll beim Abruf hängt von der Version von Dovecot ab, denn ssl_min_protocol ist nicht gesetzt.",
      en: "Cannot be determined: the oldest protocol that is allowed when mail is fetched depends on Dovecot's release, as ssl_min_protocol is not set.",
    },
    "old-access": {
      de: "Benutzer dürfen noch {protocol} verwenden.",
      en: "Users may still use {protocol}.",
    },
    unread: {
      de: "Nicht feststellbar: Der Teil {path} der Konfiguration ist nicht lesbar.",
      en: "Cannot be determined: the part {path} of the configuration cannot be read.",
    },
    table: {
      de: "Nicht feststellbar: Die Tabelle {path} ist nicht als Text lesbar.",
      en: "Cannot be determined: the table {path} cannot be read as text.",
    },
  },
  collect: collectMail,
  verdict: (facts, { policy }) => {
    const ended = notRead(facts);
    if (ended !== null) return verdictOf(ended);
    const remarks = [
      ...(facts.transport === null ? [] : judge(facts.transport, policy.tlsFloor)),
      ...facts.access.flatMap((access) => judgeAccess(access, policy.tlsFloor)),
      ...facts.unread.map((path) => remark("unknown", "unread", { path: value.path(path) })),
    ];
    return verdictOf(remarks.length === 0 ? [remark("n-a", "no-postfix")] : remarks);
  },
};

const ACCESS_STATES: Readonly<Record<ClientAccess["tls"], State>> = { required: "pass", offered: "warn", off: "fail" };

function judgeAccess({ what, tls, oldest }: ClientAccess, floor: string): Remark[] {
  const protocol = value.text(oldest ?? "?");
  const remarks = [remark(ACCESS_STATES[tls], `${what}-${tls}`)];
  if (tls !== "off" && oldest === null) remarks.push(remark("unknown", "access-unsaid"));
  if (tls !== "off" && oldest !== null && isOlder(oldest, floor))
    remarks.push(remark("fail", "old-access", { protocol }));
  return remarks;
}

function judge(t: Transport, floor: string): Remark[] {
  const remarks: Remark[] = [];
  for (const { domain, level } of t.domains) {
    const values = { domain: value.text(domain), level: value.text(level) };
    if (ENFORCED.includes(level))
      remarks.push(remark("pass", t.relay === null ? "enforced" : "relay-enforced", values));
    else
      remarks.push(level === "may" ? remark("warn", "opportunistic", values) : remark("fail", "not-encrypted", values));
  }
  const level = { level: value.text(t.sending) };
  if (t.sending === "none" && t.relay === null) remarks.push(remark("fail", "sending-off", level));
  else if (t.domains.length === 0)
    remarks.push(
      ENFORCED.includes(t.sending)
        ? remark("pass", "default-enforced", level)
        : remark("warn", "default-opportunistic", level),
    );
  remarks.push(t.receiving === "none" ? remark("fail", "receiving-off") : remark("pass", "offered"));
  const sent = t.domains.length === 0 ? [{ domain: "*", level: t.sending, oldest: t.oldestSent }] : t.domains;
  const before = remarks.length;
  for (const { domain, level, oldest } of sent)
    if (LEVELS.indexOf(level) > 0 && isOlder(oldest, floor))
      remarks.push(remark("fail", "old-sent", { domain: value.text(domain), protocol: value.text(oldest) }));
  if (t.receiving !== "none" && isOlder(t.oldestReceived, floor))
    remarks.push(remark("fail", "old-received", { protocol: value.text(t.oldestReceived) }));
  if (remarks.length === before) remarks.push(remark("pass", "recent", { protocol: value.text(`TLS ${floor}`) }));
  for (const table of t.unreadTables) remarks.push(remark("unknown", "table", { path: value.path(table) }));
  return remarks;
}
