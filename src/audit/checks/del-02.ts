import { DEL_02 } from "../catalogue/del.ts";
import { collectDeletions, type Deletion } from "../deletions.ts";
import type { Check, HostReader, Remark } from "../model.ts";
import { stateRecords } from "../state-folders.ts";
import { storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Remains extends Pick<Deletion, "name" | "samples" | "part"> {
  /** `used`: something new lies on it. */
  readonly there: "gone" | "used" | "free" | "unclear";
  /** What blkid finds: `ext4`, `crypto_LUKS`; null: nothing. */
  readonly signature: string | null;
}

interface Facts {
  readonly remains: readonly Remains[];
  /** Backups of LUKS headers that Unterbau knows, of devices that were given up. */
  readonly headers: readonly { readonly file: string; readonly device: string }[];
  readonly noBlkid: boolean;
}

/** Samples that a record must have read back: with 64 a hundredth left in clear is missed once in two. */
const SAMPLES = 64;

export const del02: Check<Facts> = {
  ...DEL_02,
  about: "host",
  explanation: {
    de: "Ob eine Löschung gewirkt hat, zeigt der Blick auf den alten Datenträger: Ist dort noch ein Dateisystem oder ein LUKS-Kopf lesbar, ist nichts gelöscht. Das gilt nur für die logische Sicht, nicht für den Reservebereich einer SSD.",
    en: "Whether a deletion worked is shown by a look at the old medium: where a file system or a LUKS header can still be read nothing is deleted. That holds for the logical view only, not for an SSD's spare area.",
  },
  remedy: {
    de: "Löschen Sie den Datenträger noch einmal (`unterbau retire`) und entfernen Sie alte Kopfsicherungen (`unterbau header list`).",
    en: "Delete the volume again (`unterbau retire`) and remove old header backups (`unterbau header list`).",
  },
  sentences: {
    "nothing-given-up": { de: "Es wurde kein Datenträger ausgesondert.", en: "No volume was given up." },
    gone: { de: "{path} ist nicht mehr vorhanden.", en: "{path} is no longer there." },
    clean: {
      de: "Auf {path} ist nichts zu erkennen; {samples} Stichproben zeigten nach dem Überschreiben nur die geschriebenen Zufallsdaten.",
      en: "Nothing can be recognised on {path}; {samples} samples showed only the random data written when it was overwritten.",
    },
    "few-samples": {
      de: "Auf {path} ist nichts zu erkennen, aber es wurden nur {samples} Stichproben nachgelesen.",
      en: "Nothing can be recognised on {path}, but only {samples} samples were read back.",
    },
    remains: { de: "Auf {path} ist noch lesbar: {what}.", en: "On {path} can still be read: {what}." },
    reused: {
      de: "{path} wird wieder benutzt; was darunter lag, ist nicht mehr zu sehen.",
      en: "{path} is in use again; what was there before can no longer be seen.",
    },
    header: {
      de: "Von {device} gibt es noch eine Sicherung des LUKS-Kopfes: {path}.",
      en: "There still is a backup of the LUKS header of {device}: {path}.",
    },
    unclear: {
      de: "Nicht feststellbar: Was auf {path} steht, ist nicht lesbar. Führen Sie die Prüfung als root aus.",
      en: "Cannot be determined: what is on {path} cannot be read. Run the audit as root.",
    },
    "blkid-missing": {
      de: "Nicht feststellbar: Das Programm blkid ist nicht installiert.",
      en: "Cannot be determined: the program blkid is not installed.",
    },
  },
  collect: async (context) => {
    const { all } = await collectDeletions(context);
    const { host } = context;
    const looked = await Promise.all(all.map((d) => look(host, d)));
    return {
      remains: looked.map((l) => l.remains),
      headers: await headersOf(
        host,
        all.map((d) => d.name),
      ),
      noBlkid: looked.some((l) => l.noBlkid),
    };
  },
  verdict: ({ remains, headers, noBlkid }) => {
    const remarks: Remark[] = remains.filter((r) => !r.part || r.there !== "gone").map(judge);
    for (const { file, device } of headers)
      remarks.push(remark("fail", "header", { path: value.path(file), device: value.path(device) }));
    if (noBlkid) remarks.push(remark("unknown", "blkid-missing"));
    return verdictOf(remarks.length === 0 ? [remark("n-a", "nothing-given-up")] : remarks);
  },
};

function judge({ name, there, signature, samples }: Remains): Remark {
  const values = { path: value.path(name) };
  if (there === "gone") return remark("pass", "gone", values);
  if (there === "used") return remark("warn", "reused", values);
  if (there === "unclear") return remark("unknown", "unclear", values);
  if (signature !== null) return remark("fail", "remains", { ...values, what: value.text(signature) });
  const counted = { ...values, samples: value.number(samples ?? 0) };
  return (samples ?? 0) >= SAMPLES ? remark("pass", "clean", counted) : remark("warn", "few-samples", counted);
}

async function look(host: HostReader, { name, samples, part, removed }: Deletion) {
  const remains = { name, samples, part, signature: null };
  const stat = name.startsWith("/") ? await host.stat(name) : null;
  if (stat === null) {
    // A name that is no path (a serial number) cannot be looked for.
    return {
      remains: { ...remains, there: removed || name.startsWith("/") ? ("gone" as const) : ("unclear" as const) },
      noBlkid: false,
    };
  }
  if (await inUse(host, name)) return { remains: { ...remains, there: "used" as const }, noBlkid: false };
  const probe = await host.run(["blkid", "--probe", "--output", "export", name]);
  if (probe.kind === "missing") return { remains: { ...remains, there: "unclear" as const }, noBlkid: true };
  // blkid(8): 2: nothing found.
  if (probe.exit === 2) return { remains: { ...remains, there: "free" as const }, noBlkid: false };
  const what = /^(?:TYPE|PTTYPE)=(.{1,100})$/m.exec(probe.stdout)?.[1] ?? null;
  const unclear = probe.exit !== 0 || what === null;
  return {
    remains: { ...remains, there: unclear ? ("unclear" as const) : ("free" as const), signature: what },
    noBlkid: false,
  };
}

/** Something lies on it: a mapping, a mount. */
async function inUse(host: HostReader, path: string): Promise<boolean> {
  const storage = await storageOf(host);
  const block = await storage.block(path);
  if (block === null) return false;
  const above = [...storage.view.devices.values()].some((d) => d.below.includes(block.kname));
  return above || storage.mounts.some((m) => m.number === block.number);
}

async function headersOf(host: HostReader, given: readonly string[]) {
  const paths = await stateRecords(host, "headers/index", ".json");
  const files = await Promise.all(paths.map((path) => host.file(path)));
  const records = files.flatMap((file) => {
    if (file.kind !== "text") return [];
    try {
      const { file: backup, device } = JSON.parse(file.text) as Record<string, unknown>;
      return typeof backup === "string" && typeof device === "string" && given.includes(device)
        ? [{ file: backup, device }]
        : [];
    } catch {
      return [];
    }
  });
  const there = await Promise.all(records.map((r) => host.stat(r.file)));
  return records.filter((_, i) => there[i] !== null);
}
