import { LEAK_06 } from "../catalogue/leak.ts";
import type { AuditGuest, Check, HostReader, Remark } from "../model.ts";
import type { Block } from "../storage/block.ts";
import { allLayers, encryptionOf, type Storage, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  /** Volumes that nobody uses, and what they hold. */
  readonly devices:
    | readonly {
        readonly path: string;
        readonly content: string | null;
        readonly encrypted: "yes" | "no" | "unknown";
      }[]
    | null;
  /** Files in the folders that were searched. */
  readonly files: readonly {
    readonly path: string;
    readonly format: string | null;
    readonly encrypted: "yes" | "no" | "unknown";
  }[];
  readonly searched: readonly string[];
  /** Folders that were declared, and could not be read. */
  readonly unread: readonly string[];
}

const NAMES = /\.(img|raw|qcow2?|vmdk|vdi|vhdx?|iso\.bak|bak|old|orig|save)$/i;
const MAGIC: readonly { readonly format: string; readonly bytes: readonly number[]; readonly at: number }[] = [
  { format: "qcow2", bytes: [0x51, 0x46, 0x49, 0xfb], at: 0 },
  { format: "LUKS", bytes: [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe], at: 0 },
  { format: "VMDK", bytes: [0x4b, 0x44, 0x4d, 0x56], at: 0 },
  { format: "partition table", bytes: [0x55, 0xaa], at: 510 },
  { format: "ext", bytes: [0x53, 0xef], at: 1080 },
  { format: "XFS", bytes: [0x58, 0x46, 0x53, 0x42], at: 0 },
  { format: "saved memory", bytes: [...Buffer.from("LibvirtQemudSave")], at: 0 },
];
const HEAD = 4096;
const MAX_FOLDERS = 2000;
const MAX_FILES = 2000;
const DEFAULT_ROOTS = ["/var/lib/libvirt/images"];

export const leak06: Check<Facts> = {
  ...LEAK_06,
  about: "host",
  explanation: {
    de: "Beim Umzug auf verschlüsselten Speicher bleiben oft alte Abbilder, Kopien oder Volumes zurück. Sie enthalten dieselben Daten, nur ungeschützt, und niemand denkt mehr an sie.",
    en: "Moving to encrypted storage often leaves old images, copies or volumes behind. They hold the same data, only unprotected, and nobody thinks of them any more.",
  },
  remedy: {
    de: "Sehen Sie nach, was darin ist, und löschen Sie es nach der Entscheidungstabelle zu DEL-01 (überschreiben, nicht nur entfernen). Weitere Suchorte nennt scope.yaml unter `searchRoots`.",
    en: "Look what is in it, and erase it by the decision table of DEL-01 (overwrite, do not just remove). More places to search are named in scope.yaml under `searchRoots`.",
  },
  sentences: {
    none: {
      de: "Außerhalb der Verschlüsselung liegt nichts, was eine Kopie eines Gastes sein kann (durchsucht: {searched}).",
      en: "Nothing that may be a copy of a guest lies outside of the encryption (searched: {searched}).",
    },
    "device-candidate": {
      de: "{device} wird von keinem Gast verwendet, liegt unverschlüsselt und enthält {content}.",
      en: "{device} is used by no guest, lies unencrypted and holds {content}.",
    },
    "device-unknown": {
      de: "{device} wird nicht verwendet und liegt unverschlüsselt; was darin ist, ist nicht erkennbar.",
      en: "{device} is not in use and lies unencrypted; what is in it cannot be seen.",
    },
    "file-candidate": {
      de: "{file} ({format}) liegt unverschlüsselt und gehört zu keinem Gast.",
      en: "{file} ({format}) lies unencrypted and belongs to no guest.",
    },
    "file-unknown": {
      de: "{file} liegt unverschlüsselt, gehört zu keinem Gast und heißt wie ein Abbild oder eine Kopie.",
      en: "{file} lies unencrypted, belongs to no guest and is named like an image or a copy.",
    },
    "not-listed": {
      de: "Die Geräte des Hosts konnten nicht aufgelistet werden (lsblk).",
      en: "The host's devices could not be listed (lsblk).",
    },
    unread: { de: "{folder} konnte nicht durchsucht werden.", en: "{folder} could not be searched." },
  },
  collect: async ({ guests, host, declared }) => {
    const storage = await storageOf(host);
    const named = declared?.values.searchRoots;
    const roots = Array.isArray(named)
      ? named.filter((r): r is string => typeof r === "string" && r.startsWith("/"))
      : [];
    const used = await usedPlaces(guests ?? [], host);
    const unread: string[] = [];
    const files = await searchFiles([...DEFAULT_ROOTS, ...roots], used, host, storage, unread);
    const devices = storage.view.devices.size === 0 ? null : await unusedDevices(guests ?? [], used, host, storage);
    const own = unread.filter((u) => roots.includes(u));
    return { devices, files, searched: [...DEFAULT_ROOTS, ...roots].filter((r) => !unread.includes(r)), unread: own };
  },
  verdict: ({ devices, files, searched, unread }) => {
    const found: Remark[] = [];
    if (devices === null) found.push(remark("unknown", "not-listed"));
    for (const folder of unread) found.push(remark("unknown", "unread", { folder: value.path(folder) }));
    for (const { path, content, encrypted } of devices ?? []) {
      if (encrypted === "yes") continue;
      const device = value.path(path);
      if (content === null) found.push(remark("warn", "device-unknown", { device }));
      else found.push(remark("fail", "device-candidate", { device, content: value.text(content) }));
    }
    for (const { path, format, encrypted } of files) {
      if (encrypted === "yes" || format === "LUKS") continue;
      const file = value.path(path);
      if (format === null) found.push(remark("warn", "file-unknown", { file }));
      else found.push(remark("fail", "file-candidate", { file, format: value.text(format) }));
    }
    const where = value.path(searched.join(", ") || "-");
    return verdictOf(found.length === 0 ? [remark("pass", "none", { searched: where })] : found);
  },
};

/** All files and devices that guests use: real paths, those of backing images too. */
async function usedPlaces(guests: readonly AuditGuest[], host: HostReader): Promise<Set<string>> {
  const images = guests.flatMap((g) => g.disks).flatMap((d) => (d.layers ? allLayers(d.layers) : []));
  const paths = [
    ...guests.flatMap((g) => g.disks.map((d) => d.place)),
    ...images.flatMap((l) => (/image|luks inside/.test(l.kind) ? (l.path ?? []) : [])),
  ];
  const real = await Promise.all(paths.map(async (p) => (p.startsWith("/") ? ((await host.real(p)) ?? p) : p)));
  return new Set([...paths, ...real]);
}

/**
 * What no mount, no layer above and no guest uses: partitions and logical volumes, and disks and arrays that hold something without
 * having been divided. A blank disk is none.
 */
async function unusedDevices(
  guests: readonly AuditGuest[],
  used: ReadonlySet<string>,
  host: HostReader,
  storage: Storage,
): Promise<NonNullable<Facts["devices"]>> {
  const { devices } = storage.view;
  const under = new Set([...devices.values()].flatMap((d) => d.below));
  const ofGuests = guests.flatMap((g) => g.disks).flatMap((d) => (d.layers ? allLayers(d.layers) : []));
  const names = new Set(ofGuests.map((l) => l.name));
  const numbers = new Set(storage.mounts.map((m) => m.number));
  const sources = new Set(
    await Promise.all(
      storage.mounts.map(async ({ source: s }) => (s.startsWith("/dev/") ? ((await host.real(s)) ?? s) : s)),
    ),
  );
  const isMounted = ({ number, path, kname }: Block) =>
    numbers.has(number) || sources.has(path) || sources.has(`/dev/${kname}`);
  // The devices of a Btrfs have its UUID; its mount names one, under a number of its own.
  const mounted = new Set([...devices.values()].flatMap((d) => (isMounted(d) && d.uuid !== null ? d.uuid : [])));
  const swaps = await host.file("/proc/swaps");
  const swapNames = swaps.kind === "text" ? swaps.text.split("\n").map((l) => l.split(/\s+/)[0] ?? "") : [];
  const swapReal = new Set(await Promise.all(swapNames.map(async (s) => (await host.real(s)) ?? s)));
  const found: NonNullable<Facts["devices"]>[number][] = [];
  for (const device of devices.values()) {
    const { kname, name, path, type, fileSystem, uuid } = device;
    if (under.has(kname) || names.has(name) || isMounted(device)) continue;
    if (fileSystem === "btrfs" && uuid !== null && mounted.has(uuid)) continue;
    const divided = ["part", "lvm"].includes(type);
    if (!divided && (fileSystem === null || ["rom", "loop"].includes(type))) continue;
    if (used.has(path) || swapReal.has(path) || swapReal.has(`/dev/${kname}`)) continue;
    // Locked, or an extended partition's place holder of two sectors.
    if (fileSystem === "crypto_LUKS" || (device.size !== null && device.size <= 4096)) continue;
    found.push({ path, content: fileSystem, encrypted: encryptionOf(await storage.under(path)) });
  }
  return found;
}

async function searchFiles(
  roots: readonly string[],
  used: ReadonlySet<string>,
  host: HostReader,
  storage: Storage,
  unread: string[],
): Promise<Facts["files"]> {
  const found: Facts["files"][number][] = [];
  const todo = [...new Set(roots)];
  for (let i = 0; i < todo.length && i < MAX_FOLDERS && found.length < MAX_FILES; i++) {
    const folder = todo[i]!;
    const names = await host.list(folder);
    if (names === null) unread.push(folder);
    for (const name of names ?? []) {
      const path = `${folder === "/" ? "" : folder}/${name}`;
      const stat = await host.stat(path);
      if (stat?.type === "folder") todo.push(path);
      if (stat?.type !== "file" || used.has(path) || stat.size < HEAD) continue;
      const format = formatOf(await host.head(path, HEAD));
      if (format === null && !NAMES.test(name)) continue;
      found.push({ path, format, encrypted: encryptionOf(await storage.under(path)) });
    }
  }
  return found;
}

function formatOf(head: Uint8Array | null): string | null {
  return MAGIC.find(({ bytes, at }) => head !== null && bytes.every((b, i) => head[at + i] === b))?.format ?? null;
}
