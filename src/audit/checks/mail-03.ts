import { MAIL_03 } from "../catalogue/mail.ts";
import { declaredPart } from "../declared.ts";
import { collectMail, type MailFacts } from "../mail/facts.ts";
import { MAIL_SENTENCES, notRead } from "../mail/judge.ts";
import type { Check } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

export const mail03: Check<MailFacts> = {
  ...MAIL_03,
  about: "guest",
  explanation: {
    de: "Viele Spamfilter fragen fremde Dienste: Prüfsummen des Textes, Absenderadressen oder Links verlassen dabei das Haus. Wer gefragt wird und was hinausgeht, gehört in Verzeichnis und Vertrag.",
    en: "Many spam filters ask services of others: checksums of the text, senders' addresses or links leave the house. Who is asked and what goes out belongs into record and contract.",
  },
  remedy: {
    de: "Schalten Sie den Dienst ab (zum Beispiel `use_razor2 0`, `skip_rbl_checks 1` in local.cf) oder erklären Sie ihn unter `spamServices` mit Art der Daten und Land.",
    en: "Switch the service off (for example `use_razor2 0`, `skip_rbl_checks 1` in local.cf), or declare it under `spamServices` with the kind of data and the country.",
  },
  sentences: {
    ...MAIL_SENTENCES,
    "none-asked": {
      de: "Zur Spamprüfung wird kein fremder Dienst gefragt.",
      en: "No outside service is asked for spam checks.",
    },
    declared: {
      de: "Der Dienst {service} ist in Gebrauch und erklärt ({data}, {country}).",
      en: "The service {service} is in use and declared ({data}, {country}).",
    },
    incomplete: {
      de: "Der Dienst {service} ist erklärt, aber ohne Art der Daten oder Land.",
      en: "The service {service} is declared, but without the kind of data or the country.",
    },
    undeclared: {
      de: "Der Dienst {service} ist in Gebrauch ({path}) und nicht erklärt.",
      en: "The service {service} is in use ({path}) and not declared.",
    },
    "services-not-understood": {
      de: "Nicht beurteilbar: Die Erklärung der Dienste ist fehlerhaft ({where}: {why}).",
      en: "Cannot be judged: the declaration of services is wrong ({where}: {why}).",
    },
    "no-mail": {
      de: "In diesem Gast ist weder Mailserver noch Spamfilter eingerichtet.",
      en: "Neither a mail server nor a spam filter is set up in this guest.",
    },
  },
  collect: collectMail,
  verdict: (facts, { declared }) => {
    const ended = notRead(facts);
    if (ended !== null) return verdictOf(ended);
    if (facts.programs.length === 0) return verdictOf([remark("n-a", "no-mail")]);
    const said = declaredPart(declared, "spamServices");
    if (said.kind === "wrong")
      return verdictOf([
        remark("unknown", "services-not-understood", { where: value.text(said.where), why: value.text(said.why) }),
      ]);
    const known = said.kind === "said" ? said.value : [];
    if (facts.spam.length === 0) return verdictOf([remark("pass", "none-asked")]);
    return verdictOf(
      facts.spam.map(({ name, file }) => {
        const service = value.text(name);
        const one = known.find((k) => k.name.toLowerCase() === name);
        if (one === undefined) return remark("fail", "undeclared", { service, path: value.path(file) });
        const { data, country } = one;
        if (data === undefined || country === undefined) return remark("warn", "incomplete", { service });
        return remark("pass", "declared", { service, data: value.text(data), country: value.text(country) });
      }),
    );
  },
};
