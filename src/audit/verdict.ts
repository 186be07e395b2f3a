import type { Check, Remark, State, Text, Value, Verdict } from "./model.ts";

const ORDER: readonly State[] = ["n-a", "pass", "warn", "unknown", "fail"];

/** The worst state; of none it is not known whether anything was looked at. */
export function worst(states: readonly State[]): State {
  return states.reduce((a, b) => (ORDER.indexOf(b) > ORDER.indexOf(a) ? b : a), states[0] ?? "unknown");
}

export function verdictOf(remarks: readonly Remark[]): Verdict {
  return { state: worst(remarks.map((r) => r.state)), remarks };
}

export function remark(state: State, code: string, values: Readonly<Record<string, Value>> = {}): Remark {
  return { state, code, values };
}

/** Values by their kind: `value.path("/etc/fstab")`. */
export const value = {
  path: (v: string): Value => ({ kind: "path", value: v }),
  serial: (v: string): Value => ({ kind: "serial", value: v }),
  address: (v: string): Value => ({ kind: "address", value: v }),
  rule: (v: string): Value => ({ kind: "rule", value: v }),
  person: (v: string): Value => ({ kind: "person", value: v }),
  guest: (v: string): Value => ({ kind: "guest", value: v }),
  program: (v: string): Value => ({ kind: "program", value: v }),
  text: (v: string): Value => ({ kind: "text", value: v }),
  number: (v: number): Value => ({ kind: "number", value: v }),
  bytes: (v: number): Value => ({ kind: "bytes", value: v }),
  date: (v: string): Value => ({ kind: "date", value: v }),
};

/** Sentences that any check may need. */
const COMMON: Readonly<Record<string, Text>> = {
  "program-missing": {
    de: "Nicht feststellbar: Das Programm {program} ist nicht installiert. Installieren Sie es und wiederholen Sie die Prüfung.",
    en: "Cannot be determined: the program {program} is not installed. Install it and repeat the audit.",
  },
  "program-failed": {
    de: "Nicht feststellbar: {program} meldet einen Fehler ({reason}).",
    en: "Cannot be determined: {program} reports an error ({reason}).",
  },
  "file-unreadable": {
    de: "Nicht feststellbar: {file} ist nicht lesbar. Führen Sie die Prüfung als root aus.",
    en: "Cannot be determined: {file} cannot be read. Run the audit as root.",
  },
  "not-understood": {
    de: "Nicht feststellbar: Die Ausgabe von {program} wurde nicht verstanden.",
    en: "Cannot be determined: the output of {program} was not understood.",
  },
  "guests-unknown": {
    de: "Nicht feststellbar: Die Gäste des Hosts konnten nicht aufgelistet werden.",
    en: "Cannot be determined: the guests of the host could not be listed.",
  },
  "no-volumes": {
    de: "Unter den Datenträgern des Gastes liegt keine Verschlüsselung des Hosts (siehe ENC-01).",
    en: "There is no encryption of the host's under the guest's disks (see ENC-01).",
  },
  "volumes-unknown": {
    de: "Nicht feststellbar: Worauf die Datenträger des Gastes liegen, ist nicht vollständig bekannt.",
    en: "Cannot be determined: what the guest's disks lie on is not fully known.",
  },
  "no-guests": { de: "Auf diesem Host ist kein Gast eingerichtet.", en: "No guest is defined on this host." },
  "not-declared": {
    de: "Nicht beurteilbar: Es wurde nichts dazu erklärt ({key}).",
    en: "Cannot be judged: nothing was declared about it ({key}).",
  },
  "check-failed": {
    de: "Nicht feststellbar: Die Prüfung selbst ist gescheitert ({reason}).",
    en: "Cannot be determined: the check itself failed ({reason}).",
  },
};

/** A remark's sentence, of the check itself or one that all have. Null: there is none, which a test rules out. */
export function sentenceOf(check: Pick<Check<unknown>, "sentences">, code: string): Text | null {
  return (
    (Object.hasOwn(check.sentences, code)
      ? check.sentences[code]
      : Object.hasOwn(COMMON, code)
        ? COMMON[code]
        : null) ?? null
  );
}
