import { PERM_04 } from "../catalogue/perm.ts";
import type { AuditGuest, Check, HostReader, Remark } from "../model.ts";
import { type GuestDevices, parseDevices } from "../parse/devices.ts";
import { dumpxml } from "../storage/domains.ts";
import { allLayers } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

/** What two guests can have in common. */
type Kind = "disk" | "share" | "memory" | "device";

interface Facts {
  readonly guest: string;
  readonly uuid: string;
  readonly clipboard: boolean;
  readonly usbRedirection: boolean;
  /** Null: a definition could not be read. */
  readonly shared:
    | readonly {
        readonly kind: Kind;
        readonly what: string;
        readonly guest: string;
        readonly uuid: string;
        /** Neither of them may write it. */
        readonly readOnly: boolean;
      }[]
    | null;
}

export const perm04: Check<Facts> = {
  ...PERM_04,
  about: "guest",
  explanation: {
    de: "Daten verschiedener Auftraggeber sollen einander nicht erreichen. Ein gemeinsamer Datenträger, ein gemeinsamer Ordner oder die Zwischenablage sind Wege zwischen Gästen, die keine Firewall sieht.",
    en: "Data of different clients must not reach each other. A shared disk, a shared folder or the clipboard are ways between guests that no firewall sees.",
  },
  remedy: {
    de: "Geben Sie jedem Gast eigene Datenträger und Ordner; schalten Sie die Zwischenablage (`<clipboard copypaste='no'/>`, `<filetransfer enable='no'/>`) und die USB-Weiterleitung (`<redirdev>`) ab.",
    en: "Give each guest disks and folders of its own; turn off the clipboard (`<clipboard copypaste='no'/>`, `<filetransfer enable='no'/>`) and USB redirection (`<redirdev>`).",
  },
  sentences: {
    separate: {
      de: "Der Gast teilt nichts mit anderen Gästen; Zwischenablage und USB-Weiterleitung sind aus.",
      en: "The guest shares nothing with other guests; clipboard and USB redirection are off.",
    },
    disk: {
      de: "Der Datenträger {what} gehört auch zum Gast {guest}.",
      en: "The disk {what} belongs to the guest {guest} too.",
    },
    share: {
      de: "Der Ordner {what} ist auch für den Gast {guest} freigegeben.",
      en: "The folder {what} is shared with the guest {guest} too.",
    },
    memory: {
      de: "Der gemeinsame Speicher {what} verbindet ihn mit dem Gast {guest}.",
      en: "The shared memory {what} connects it with the guest {guest}.",
    },
    device: {
      de: "Das Gerät {what} ist auch dem Gast {guest} zugeordnet.",
      en: "The device {what} is assigned to the guest {guest} too.",
    },
    "disc-shared": {
      de: "Das Nur-Lese-Medium {what} nutzt auch der Gast {guest}.",
      en: "The read-only medium {what} is used by the guest {guest} too.",
    },
    clipboard: {
      de: "Zwischenablage oder Dateiübertragung zwischen Gast und Betrachter sind eingeschaltet.",
      en: "Clipboard or file transfer between guest and viewer are on.",
    },
    usb: {
      de: "USB-Geräte können in den Gast weitergeleitet werden.",
      en: "USB devices can be redirected into the guest.",
    },
    unread: {
      de: "Nicht feststellbar: Die Definition dieses oder eines anderen Gastes ist nicht lesbar.",
      en: "Cannot be determined: the definition of this or another guest cannot be read.",
    },
    "scope-unknown": {
      de: "Nicht beurteilbar: {what} ist auch Teil des Gastes {guest}; welche Gäste zum Geltungsbereich gehören, ist nicht erklärt.",
      en: "Cannot be judged: {what} is part of the guest {guest} too; which guests are in scope is not declared.",
    },
    "within-scope": {
      de: "{what} teilen sich Gäste des Geltungsbereichs (mit {guest}).",
      en: "{what} is shared among guests in scope (with {guest}).",
    },
  },
  collect: async ({ host, guest, guests }) => {
    const seen = async (g: AuditGuest) => ({
      ...g,
      devices: await devicesOf(host, g.uuid),
      images: await imagesOf(g, host),
    });
    const mine = guest === null ? null : await seen(guest);
    const own = mine?.devices ?? null;
    const others = await Promise.all((guests ?? []).filter((g) => g.uuid !== guest?.uuid).map(seen));
    const readable = own !== null && guests !== null && others.every((o) => o.devices !== null);
    return {
      guest: guest?.name ?? "",
      uuid: guest?.uuid ?? "",
      clipboard: own?.clipboard ?? false,
      usbRedirection: own?.usbRedirection ?? false,
      shared: readable
        ? others.flatMap(({ name, uuid, devices, images }) =>
            [...inCommon(mine!.images, images), ...common(own, devices!)].map((c) => ({ ...c, guest: name, uuid })),
          )
        : null,
    };
  },
  verdict: ({ uuid, clipboard, usbRedirection, shared }, { declared }) => {
    const remarks: Remark[] = [];
    if (shared === null) remarks.push(remark("unknown", "unread"));
    const scope =
      declared === null || declared.guests.length === 0 ? null : new Set(declared.guests.map((g) => g.uuid));
    for (const one of shared ?? []) {
      const values = { what: value.path(one.what), guest: value.guest(one.guest) };
      if (one.readOnly) remarks.push(remark("pass", "disc-shared", values));
      else if (scope === null) remarks.push(remark("unknown", "scope-unknown", values));
      else if (scope.has(uuid) === scope.has(one.uuid)) remarks.push(remark("warn", "within-scope", values));
      else remarks.push(remark("fail", one.kind, values));
    }
    if (clipboard) remarks.push(remark("warn", "clipboard"));
    if (usbRedirection) remarks.push(remark("warn", "usb"));
    return verdictOf(remarks.length === 0 ? [remark("pass", "separate")] : remarks);
  },
};

async function devicesOf(host: HostReader, uuid: string): Promise<GuestDevices | null> {
  const xml = await host.run(dumpxml(uuid, false));
  if (xml.kind === "missing" || xml.exit !== 0) return null;
  try {
    return parseDevices(xml.stdout);
  } catch {
    return null;
  }
}

/** Real paths of all that a guest's disks are made of, and whether it only reads them. */
async function imagesOf({ disks }: AuditGuest, host: HostReader): Promise<ReadonlyMap<string, boolean>> {
  const found = new Map<string, boolean>();
  const add = async (path: string, readOnly: boolean) => {
    const real = (await host.real(path)) ?? path;
    found.set(real, readOnly && found.get(real) !== false);
  };
  for (const { place, device, readOnly, layers } of disks) {
    // What is no path is on another machine, and called the same by all who use it.
    await add(place, readOnly || device === "cdrom");
    for (const layer of layers === null ? [] : allLayers(layers))
      if (layer.kind === "backing image" && layer.path !== null) await add(layer.path, true);
  }
  return found;
}

function inCommon(mine: ReadonlyMap<string, boolean>, theirs: ReadonlyMap<string, boolean>) {
  return [...mine].flatMap(([what, readOnly]) => {
    const other = theirs.get(what);
    return other === undefined ? [] : [{ kind: "disk" as const, what, readOnly: readOnly && other }];
  });
}

function common(a: GuestDevices, b: GuestDevices): { kind: Kind; what: string; readOnly: boolean }[] {
  const rest = (kind: Kind, mine: readonly string[], theirs: readonly string[]) =>
    [...new Set(mine)].filter((m) => theirs.includes(m)).map((what) => ({ kind, what, readOnly: false }));
  const devices = (g: GuestDevices) => g.hostDevices.map((d) => `${d.kind} ${d.address}`);
  return [
    ...rest("share", a.shares, b.shares),
    ...rest("memory", a.sharedMemory, b.sharedMemory),
    ...rest("device", devices(a), devices(b)),
  ];
}
