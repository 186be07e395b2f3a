import type { Element } from "@xmldom/xmldom";
import { attributeOf, childOf, childrenOf } from "../../libvirt/xml.ts";
import { LEAK_07 } from "../catalogue/leak.ts";
import type { Check, HostReader, Remark } from "../model.ts";
import { definitions } from "../storage/domain-xml.ts";
import { encryptionOf, type Storage, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Share {
  /** `folder`, `log`, `memory`. */
  readonly kind: "folder" | "log" | "memory";
  readonly path: string;
  readonly encrypted: "yes" | "no" | "unknown";
  readonly mode: number | null;
  /** Other guests that have the same. */
  readonly others: readonly string[];
}

interface Facts {
  /** Null: the guest's definition was not read. */
  readonly shares: readonly Share[] | null;
}

export const leak07: Check<Facts> = {
  ...LEAK_07,
  about: "guest",
  explanation: {
    de: "Durchgereichte Verzeichnisse, Konsolen-Protokolle und gemeinsamer Speicher tragen Daten des Gastes auf den Host. Dort gelten dessen Rechte und dessen Verschlüsselung, nicht die des Gastes.",
    en: "Shared folders, console logs and shared memory carry the guest's data to the host. There the host's rights and encryption apply, not the guest's.",
  },
  remedy: {
    de: "Entfernen Sie Durchreichungen, die nicht nötig sind (`virsh edit NAME`); legen Sie die übrigen auf LUKS und setzen Sie ihre Rechte auf 0700.",
    en: "Remove shares that are not needed (`virsh edit NAME`); put the others on LUKS and set their mode to 0700.",
  },
  sentences: {
    none: {
      de: "Der Gast teilt keine Verzeichnisse, Protokolle oder Speicherbereiche mit dem Host.",
      en: "The guest shares no folders, logs or memory with the host.",
    },
    protected: {
      de: "{path} liegt verschlüsselt und ist nur seinem Besitzer zugänglich.",
      en: "{path} lies encrypted and only its owner has access.",
    },
    open: {
      de: "{path} liegt verschlüsselt, ist auf dem Host aber auch anderen zugänglich (Rechte {mode}).",
      en: "{path} lies encrypted, but others on the host have access too (mode {mode}).",
    },
    shared: {
      de: "{path} hat auch ein anderer Gast ({guests}).",
      en: "{path} is shared with another guest ({guests}).",
    },
    plain: { de: "{path} liegt auf dem Host unverschlüsselt.", en: "{path} lies unencrypted on the host." },
    unknown: {
      de: "Ob {path} auf dem Host verschlüsselt liegt, ist nicht feststellbar.",
      en: "Whether {path} lies encrypted on the host cannot be determined.",
    },
    memory: {
      de: "Der Gast hat einen Speicherbereich ({path}), den andere Programme des Hosts mitlesen können.",
      en: "The guest has shared memory ({path}) that other programs of the host can read.",
    },
    "no-definition": {
      de: "Die Definition des Gastes konnte nicht gelesen werden.",
      en: "The guest's definition could not be read.",
    },
  },
  collect: async ({ guest, guests, host }) => {
    const own = guest === null ? [] : await definitions(host, guest.uuid);
    if (own.length === 0) return { shares: null };
    const storage = await storageOf(host);
    const theirs = await Promise.all(
      (guests ?? [])
        .filter((g) => g.uuid !== guest?.uuid)
        .map(async (g) => ({ name: g.name, places: (await definitions(host, g.uuid)).flatMap(placesOf) })),
    );
    const places = own.flatMap(placesOf);
    const unique = places.filter((p, i) => places.findIndex((q) => q.kind === p.kind && q.path === p.path) === i);
    const shares = unique.map(async (place) => {
      const others = theirs.filter((t) => t.places.some((p) => p.kind === place.kind && p.path === place.path));
      return { ...place, ...(await standing(place.path, host, storage)), others: others.map((o) => o.name) };
    });
    return { shares: await Promise.all(shares) };
  },
  verdict: ({ shares }) => {
    if (shares === null) return verdictOf([remark("unknown", "no-definition")]);
    return verdictOf(shares.length === 0 ? [remark("pass", "none")] : shares.flatMap(judge));
  },
};

function judge({ kind, path, encrypted, mode, others }: Share): Remark[] {
  const place = { path: value.path(path) };
  const found: Remark[] = [];
  if (others.length > 0) found.push(remark("warn", "shared", { ...place, guests: value.guest(others.join(", ")) }));
  if (kind === "memory") return [...found, remark("warn", "memory", place)];
  if (encrypted === "no") return [...found, remark("fail", "plain", place)];
  if (encrypted === "unknown") return [...found, remark("unknown", "unknown", place)];
  // A log is a file of 0600.
  if (mode !== null && (mode & 0o077) !== 0)
    found.push(remark("warn", "open", { ...place, mode: value.text(mode.toString(8).padStart(4, "0")) }));
  return found.length > 0 ? found : [remark("pass", "protected", place)];
}

async function standing(path: string, host: HostReader, storage: Storage): Promise<Pick<Share, "encrypted" | "mode">> {
  if (!path.startsWith("/")) return { encrypted: "unknown", mode: null };
  const stat = await host.stat(path);
  return { encrypted: encryptionOf(await storage.wouldBeUnder(path)), mode: stat?.mode ?? null };
}

/** libvirt, "Domain XML format": filesystem, the log of character devices, shmem, memory backed by files. */
function placesOf(domain: Element): { kind: Share["kind"]; path: string }[] {
  const devices = childOf(domain, "devices");
  const all = (name: string) => (devices === null ? [] : childrenOf(devices, name));
  const folders = all("filesystem").flatMap((f) => {
    const source = childOf(f, "source");
    return attributeOf(source, "dir") ?? attributeOf(source, "file") ?? attributeOf(source, "dev") ?? [];
  });
  const characters = ["serial", "console", "parallel", "channel"].flatMap(all);
  const logs = characters.flatMap((c) => {
    const file = attributeOf(childOf(c, "log"), "file");
    const own = attributeOf(c, "type") === "file" ? attributeOf(childOf(c, "source"), "path") : null;
    return [file, own].filter((p) => p !== null);
  });
  const memory = all("shmem").flatMap((s) => attributeOf(s, "name") ?? []);
  const backed =
    attributeOf(childOf(childOf(domain, "memoryBacking"), "source"), "type") === "file"
      ? ["/var/lib/libvirt/qemu/ram"]
      : [];
  return [
    ...[...folders, ...backed].map((path) => ({ kind: "folder" as const, path })),
    ...logs.map((path) => ({ kind: "log" as const, path })),
    ...memory.map((path) => ({ kind: "memory" as const, path })),
  ];
}
