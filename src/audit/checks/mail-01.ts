import { MAIL_01 } from "../catalogue/mail.ts";
import { collectMail, type MailFacts, type Store } from "../mail/facts.ts";
import { MAIL_SENTENCES, notRead } from "../mail/judge.ts";
import type { Check, Remark } from "../model.ts";
import { remark, value, verdictOf } from "../verdict.ts";

const NETWORK = /^(nfs4?|cifs|smb3?|fuse\..*|davfs|glusterfs|ceph|afs)$/;
/** Folders of the host's that the guest sees: LEAK-07 judges them. */
const SHARED = /^(9p|virtiofs)$/;

export const mail01: Check<MailFacts> = {
  ...MAIL_01,
  about: "guest",
  explanation: {
    de: "Die Verschlüsselung der Datenträger schützt nur Mails, die auf ihnen liegen. Ein Postfach auf einem Netzlaufwerk oder in einem Cloud-Ordner liegt außerhalb des Gemessenen.",
    en: "Disk encryption protects only mail that lies on those disks. A mailbox on a network drive or in a cloud folder is outside of what is measured.",
  },
  remedy: {
    de: "Legen Sie Warteschlange und Postfächer auf einen Datenträger des Gastes, den ENC-01 als verschlüsselt ausweist.",
    en: "Put queue and mailboxes on a disk of the guest that ENC-01 shows to be encrypted.",
  },
  sentences: {
    ...MAIL_SENTENCES,
    inside: {
      de: "{path} liegt auf {disk}, einem verschlüsselten Datenträger des Gastes.",
      en: "{path} is on {disk}, an encrypted disk of the guest.",
    },
    plain: {
      de: "{path} liegt auf {disk}, einem unverschlüsselten Datenträger des Gastes.",
      en: "{path} is on {disk}, a disk of the guest that is not encrypted.",
    },
    share: {
      de: "{path} liegt auf einem Ordner des Hosts ({what}); ihn beurteilt LEAK-07.",
      en: "{path} is on a folder of the host ({what}); LEAK-07 judges it.",
    },
    outside: {
      de: "{path} liegt außerhalb des Gastes ({what}).",
      en: "{path} is outside of the guest ({what}).",
    },
    memory: {
      de: "{path} liegt im Arbeitsspeicher des Gastes.",
      en: "{path} is in the guest's memory.",
    },
    unclear: {
      de: "Nicht feststellbar: Auf welchem Datenträger {path} liegt, oder ob dieser verschlüsselt ist.",
      en: "Cannot be determined: which disk {path} is on, or whether that is encrypted.",
    },
    "no-store": {
      de: "In diesem Gast ist kein Mailserver eingerichtet.",
      en: "No mail server is set up in this guest.",
    },
  },
  collect: collectMail,
  verdict: (facts) => {
    const ended = notRead(facts);
    if (ended !== null) return verdictOf(ended);
    return verdictOf(facts.stores.length === 0 ? [remark("n-a", "no-store")] : facts.stores.map(judge));
  },
};

function judge({ path, mount, disk, encrypted }: Store): Remark {
  const values = { path: value.path(path), what: value.path(mount?.what ?? "/") };
  if (mount !== null && SHARED.test(mount.type)) return remark("warn", "share", values);
  if (mount !== null && NETWORK.test(mount.type)) return remark("fail", "outside", values);
  if (mount?.type === "tmpfs") return remark("pass", "memory", values);
  const on = { path: value.path(path), disk: value.text(disk ?? "?") };
  if (disk === null || encrypted === null || encrypted === "unknown") return remark("unknown", "unclear", on);
  return encrypted === "yes" ? remark("pass", "inside", on) : remark("fail", "plain", on);
}
