import { DEL_01 } from "../catalogue/del.ts";
import { collectDeletions, type Deletion, type Deletions } from "../deletions.ts";
import type { Check, Remark } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

export const del01: Check<Deletions> = {
  ...DEL_01,
  about: "host",
  explanation: {
    de: "Welches Verfahren Daten wirklich löscht, hängt vom Datenträger und von seiner Geschichte ab: Was auf einer SSD einmal im Klartext stand, verschwindet weder durch Überschreiben sicher noch durch das Löschen von Schlüsseln.",
    en: "Which method really deletes data depends on the medium and its history: what was once in clear on an SSD surely vanishes neither by overwriting nor by erasing keys.",
  },
  remedy: {
    de: "Verwenden Sie `unterbau retire`; es wählt das Verfahren und schreibt den Nachweis. Für SSDs mit Klartextvergangenheit bleibt am Ende `nvme sanitize` oder die Vernichtung nach DIN 66399.",
    en: "Use `unterbau retire`; it chooses the method and writes the record. For SSDs that held plaintext `nvme sanitize` or destruction by ISO 21964 remains at the end.",
  },
  sentences: {
    "nothing-given-up": {
      de: "Es wurde kein Datenträger ausgesondert, und keine Umstellung hat einen alten hinterlassen.",
      en: "No volume was given up, and no migration left an old one.",
    },
    accepted: {
      de: "{path} wurde am {date} mit einem Verfahren gelöscht, das für diesen Datenträger genügt ({method}).",
      en: "{path} was deleted on {date} by a method that suffices for this medium ({method}).",
    },
    "spare-area": {
      de: "{path} wurde am {date} überschrieben ({method}); auf einer SSD können alte Zellen im Reservebereich Klartext behalten, bis sie bereinigt oder vernichtet wird.",
      en: "{path} was overwritten on {date} ({method}); old cells in an SSD's spare area may keep plaintext until it is sanitized or destroyed.",
    },
    "old-keyslots": {
      de: "{path} war von Anfang an verschlüsselt und wurde am {date} gelöscht ({method}); alte Schlüsselfächer können im Reservebereich der SSD oder in Kopfsicherungen stehen.",
      en: "{path} was encrypted from the first write and deleted on {date} ({method}); old keyslots may be left in the SSD's spare area or in header backups.",
    },
    "record-limited": {
      de: "Der Löschnachweis zu {path} vom {date} nennt Einschränkungen.",
      en: "The deletion record of {path}, of {date}, names limits.",
    },
    "no-certificate": {
      de: "Für {path} ist eine Vernichtung oder Bereinigung erklärt ({date}), aber keine Bescheinigung.",
      en: "For {path} a destruction or sanitizing is declared ({date}), but no certificate.",
    },
    "not-deleted": {
      de: "{path} enthielt Klartext; das Verfahren {method} löscht ihn nicht.",
      en: "{path} held plaintext; the method {method} does not delete it.",
    },
    "not-ended": {
      de: "Die Löschung von {path} wurde begonnen und nicht beendet.",
      en: "The deletion of {path} was begun and did not end.",
    },
    "record-failed": {
      de: "Der Löschnachweis zu {path} vom {date} lautet: nicht gelungen.",
      en: "The deletion record of {path}, of {date}, says: failed.",
    },
    unrecorded: {
      de: "Der Gast {guest} wurde auf LUKS umgestellt; was aus seinem alten Datenträger wurde, ist nicht nachgewiesen.",
      en: "The guest {guest} was migrated to LUKS; what became of its old disk is not recorded.",
    },
    unread: {
      de: "Nicht feststellbar: Der Löschnachweis {path} ist nicht lesbar.",
      en: "Cannot be determined: the deletion record {path} cannot be read.",
    },
    "medium-unknown": {
      de: "{path} wurde am {date} überschrieben ({method}); die Art des Datenträgers ist nicht bekannt, er gilt als SSD.",
      en: "{path} was overwritten on {date} ({method}); the kind of medium is not known, it is taken for an SSD.",
    },
    "deletions-not-understood": {
      de: "Nicht beurteilbar: Die Erklärung zu Löschungen ist fehlerhaft ({where}: {why}).",
      en: "Cannot be judged: the declaration of deletions is wrong ({where}: {why}).",
    },
  },
  collect: collectDeletions,
  verdict: ({ all, unrecorded, unread, wrong }) => {
    const remarks: Remark[] = all.map(judge);
    for (const guest of unrecorded) remarks.push(remark("fail", "unrecorded", { guest: value.guest(guest) }));
    for (const path of unread) remarks.push(remark("unknown", "unread", { path: value.path(path) }));
    if (wrong !== null)
      remarks.push(
        remark("unknown", "deletions-not-understood", { where: value.text(wrong.where), why: value.text(wrong.why) }),
      );
    return verdictOf(remarks.length === 0 ? [remark("n-a", "nothing-given-up")] : remarks);
  },
};

/** The decision table: medium, history and method. */
function judge(d: Deletion): Remark {
  const path = value.path(d.name);
  if (d.ended === null) return remark("fail", "not-ended", { path });
  const values = { path, date: value.date(d.ended), method: value.text(d.method) };
  if (d.verdict === "fail") return remark("fail", "record-failed", values);
  const by = byTable(d, values);
  // A record knows more than the table: copy-on-write, snapshots.
  return by.state === "pass" && d.verdict === "warn" ? remark("warn", "record-limited", values) : by;
}

function byTable({ medium, wasPlaintext, method, certificate }: Deletion, values: Remark["values"]): Remark {
  switch (method) {
    case "sanitize":
    case "destroyed":
      return certificate === null ? remark("warn", "no-certificate", values) : remark("pass", "accepted", values);
    case "random-overwrite":
    case "random-overwrite-discard":
    case "reencrypt":
      if (medium === "hdd" || !wasPlaintext) return remark("pass", "accepted", values);
      return remark("warn", medium === "ssd" ? "spare-area" : "medium-unknown", values);
    case "luks-erase-and-headers":
      if (wasPlaintext) return remark("fail", "not-deleted", values);
      return medium === "hdd" ? remark("pass", "accepted", values) : remark("warn", "old-keyslots", values);
    case "luks-erase":
    case "discard":
    case "removed":
      return wasPlaintext ? remark("fail", "not-deleted", values) : remark("warn", "old-keyslots", values);
  }
}
