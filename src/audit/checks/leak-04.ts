import { LEAK_04 } from "../catalogue/leak.ts";
import type { Check, Remark } from "../model.ts";
import { VIRSH } from "../storage/domains.ts";
import { allLayers, encryptionOf, type Storage, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Snapshot {
  readonly name: string;
  /** RFC 3339; null: not told. */
  readonly made: string | null;
  readonly encrypted: "yes" | "no" | "unknown";
}

interface Facts {
  /** libvirt's; null: not listed. */
  readonly snapshots: readonly Snapshot[] | null;
  /** LVM's, of the guest's volumes; null: not listed. */
  readonly volumes: readonly Snapshot[] | null;
  readonly guestOnLvm: boolean;
}

const LVS = ["lvs", "--readonly", "--reportformat", "json", "-o", "vg_name,lv_name,origin,lv_time,lv_dm_path"];
const MAX_SNAPSHOTS = 500;

export const leak04: Check<Facts> = {
  ...LEAK_04,
  about: "guest",
  explanation: {
    de: "Ein Snapshot hält Daten fest, die der Gast längst gelöscht hat. Liegt er unverschlüsselt, ist er ein Leck; bleibt er liegen, wird aus Löschen nur Verbergen.",
    en: "A snapshot keeps data that the guest has deleted long ago. Where it lies unencrypted it is a leak; where it stays, deleting is only hiding.",
  },
  remedy: {
    de: "Löschen Sie alte Snapshots (`virsh snapshot-delete NAME SNAPSHOT`, `lvremove VG/SNAPSHOT`); unverschlüsselte Reste müssen überschrieben werden (DEL-01).",
    en: "Delete old snapshots (`virsh snapshot-delete NAME SNAPSHOT`, `lvremove VG/SNAPSHOT`); unencrypted remains have to be overwritten (DEL-01).",
  },
  sentences: {
    none: { de: "Der Gast hat keine Snapshots.", en: "The guest has no snapshots." },
    fresh: {
      de: "Der Snapshot {name} liegt verschlüsselt und ist nicht älter als {days} Tage.",
      en: "The snapshot {name} lies encrypted and is not older than {days} days.",
    },
    old: {
      de: "Der Snapshot {name} liegt verschlüsselt, ist aber älter als {days} Tage.",
      en: "The snapshot {name} lies encrypted, but is older than {days} days.",
    },
    plain: { de: "Der Snapshot {name} liegt unverschlüsselt.", en: "The snapshot {name} lies unencrypted." },
    unknown: {
      de: "Ob der Snapshot {name} verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether the snapshot {name} lies encrypted cannot be determined.",
    },
    "not-listed": {
      de: "Die Snapshots konnten nicht aufgelistet werden ({program}).",
      en: "The snapshots could not be listed ({program}).",
    },
  },
  collect: async ({ guest, host }) => {
    const storage = await storageOf(host);
    const layers = (guest?.disks ?? []).flatMap((d) => (d.layers ? allLayers(d.layers) : []));
    const own = new Set(layers.flatMap((l) => (l.kind === "lvm" ? l.name : [])));
    const disks = (guest?.disks ?? []).filter((d) => d.device === "disk" || d.device === "lun").map((d) => d.encrypted);
    const inside = disks.includes("no") ? "no" : disks.includes("unknown") || disks.length === 0 ? "unknown" : "yes";
    const list = await host.run([...VIRSH, "snapshot-list", `--domain=${guest?.uuid}`, "--name"]);
    const names = list.kind === "ran" && list.exit === 0 ? list.stdout.split("\n").map((n) => n.trim()) : null;
    const named = names?.filter((n) => n !== "").slice(0, MAX_SNAPSHOTS);
    const snapshots = await Promise.all(
      (named ?? []).map(async (name): Promise<Snapshot> => {
        const xml = await host.run([...VIRSH, "snapshot-dumpxml", `--domain=${guest?.uuid}`, `--snapshotname=${name}`]);
        const text = xml.kind === "ran" && xml.exit === 0 ? xml.stdout : "";
        const seconds = /<creationTime>(\d{1,12})<\/creationTime>/.exec(text)?.[1];
        const made = seconds === undefined ? null : new Date(Number(seconds) * 1000).toISOString();
        // Its memory may lie in a file of its own; its disks' states lie in or beneath the guest's own images.
        const memory = /<memory snapshot='external' file='([^']+)'/.exec(text)?.[1];
        const ofMemory = memory === undefined ? "yes" : encryptionOf(await storage.wouldBeUnder(memory));
        return { name, made, encrypted: ofMemory === "yes" ? inside : ofMemory };
      }),
    );
    const volumes = own.size === 0 ? [] : await ofVolumes(own, host, storage);
    return { snapshots: names === null ? null : snapshots, volumes, guestOnLvm: own.size > 0 };
  },
  verdict: ({ snapshots, volumes, guestOnLvm }, { policy, now }) => {
    const found: Remark[] = [];
    if (snapshots === null)
      found.push(remark("unknown", "not-listed", { program: value.program("virsh snapshot-list") }));
    if (volumes === null && guestOnLvm) found.push(remark("unknown", "not-listed", { program: value.program("lvs") }));
    for (const { name, made, encrypted } of [...(snapshots ?? []), ...(volumes ?? [])]) {
      const values = { name: value.text(name) };
      const days = { ...values, days: value.number(policy.snapshotDays) };
      const age = made === null ? Number.POSITIVE_INFINITY : (Date.parse(now) - Date.parse(made)) / 86_400_000;
      if (encrypted !== "yes")
        found.push(encrypted === "no" ? remark("fail", "plain", values) : remark("unknown", "unknown", values));
      else found.push(age > policy.snapshotDays ? remark("warn", "old", days) : remark("pass", "fresh", days));
    }
    return verdictOf(found.length === 0 ? [remark("pass", "none")] : found);
  },
};

/** Snapshots (classic and thin) of volumes that device mapper calls by these names. Null: LVM was not asked, or not understood. */
async function ofVolumes(
  own: ReadonlySet<string>,
  host: Parameters<typeof storageOf>[0],
  storage: Storage,
): Promise<Snapshot[] | null> {
  const result = await host.run(LVS);
  if (result.kind !== "ran" || result.exit !== 0) return null;
  let rows: unknown;
  try {
    rows = (JSON.parse(result.stdout) as { report?: { lv?: unknown }[] }).report?.[0]?.lv;
  } catch {
    return null;
  }
  if (!Array.isArray(rows)) return null;
  const dm = (group: string, volume: string) => `${group.replaceAll("-", "--")}-${volume.replaceAll("-", "--")}`;
  const found: Snapshot[] = [];
  for (const row of rows.slice(0, 10_000) as Record<string, unknown>[]) {
    const { vg_name: group, lv_name: name, origin, lv_time: time } = row;
    if (typeof group !== "string" || typeof name !== "string" || typeof origin !== "string" || origin === "") continue;
    if (!own.has(dm(group, origin))) continue;
    const at = typeof time === "string" ? Date.parse(time.replace(/ ([+-]\d{4})$/, "$1")) : Number.NaN;
    const made = Number.isNaN(at) ? null : new Date(at).toISOString();
    found.push({
      name: `${group}/${name}`,
      made,
      encrypted: encryptionOf(await storage.under(`/dev/${group}/${name}`)),
    });
  }
  return found;
}
