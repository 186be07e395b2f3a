import { ENC_01 } from "../catalogue/enc.ts";
import type { Check, Remark } from "../model.ts";
import { allLayers, bareEnds } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface DiskFacts {
  readonly target: string;
  readonly device: string;
  readonly readOnly: boolean;
  readonly place: string;
  readonly encrypted: "yes" | "no" | "unknown";
  readonly ciphers: readonly string[];
  /** The guest encrypts all of its volumes itself. */
  readonly inside: boolean;
  /** Where a way down ends without encryption. */
  readonly ends: readonly string[];
  readonly problem: string | null;
}

type Facts = readonly DiskFacts[];

export const enc01: Check<Facts> = {
  ...ENC_01,
  about: "guest",
  explanation: {
    de: "Wer einen Datenträger in die Hand bekommt, durch Diebstahl, Verlust, Reparatur oder Entsorgung, liest alles, was unverschlüsselt darauf liegt. Ein Gast ist nur geschützt, wenn jeder Weg seiner Daten bis zum physischen Datenträger durch eine aktive Verschlüsselung führt, auch der seiner Abbild-Ketten, seiner Firmware-Variablen und eingelegten Medien.",
    en: "Whoever gets hold of a disk, by theft, loss, repair or disposal, reads all that lies on it unencrypted. A guest is protected only when every way that its data take down to the physical disk crosses an active encryption, those of its backing images, firmware variables and inserted media too.",
  },
  remedy: {
    de: "Verlegen Sie den Datenträger auf LUKS: `unterbau migrate vm:NAME` kopiert ihn in einen neuen Container, prüft die Kopie und richtet den Gast darauf ein. Danach muss der alte, unverschlüsselte Datenträger gelöscht werden (DEL-01).",
    en: "Move the disk onto LUKS: `unterbau migrate vm:NAME` copies it into a new container, checks the copy and defines the guest on it. The old unencrypted disk has to be erased then (DEL-01).",
  },
  sentences: {
    encrypted: {
      de: "{disk} ({place}) liegt auf jedem Weg bis zum Datenträger auf aktiver Verschlüsselung ({ciphers}).",
      en: "{disk} ({place}) lies on active encryption ({ciphers}) on every way down to the disk.",
    },
    inside: {
      de: "{disk} ({place}): Alle Volumes liegen auf LUKS im Gast selbst ({ciphers}); der Host verschlüsselt diesen Datenträger nicht.",
      en: "{disk} ({place}): all volumes lie on LUKS in the guest itself ({ciphers}); the host does not encrypt this disk.",
    },
    plain: {
      de: "{disk} ({place}) liegt unverschlüsselt auf {ends}.",
      en: "{disk} ({place}) lies unencrypted on {ends}.",
    },
    "read-only": {
      de: "{disk} ({place}) ist ein nur lesbares Medium außerhalb der Verschlüsselung ({ends}).",
      en: "{disk} ({place}) is a read-only medium outside of the encryption ({ends}).",
    },
    unknown: {
      de: "Ob {disk} ({place}) verschlüsselt liegt, ist nicht feststellbar: {reason}.",
      en: "Whether {disk} ({place}) lies encrypted cannot be determined: {reason}.",
    },
    "no-disks": { de: "Der Gast hat keine Datenträger.", en: "The guest has no disks." },
  },
  collect: async ({ guest }) =>
    (guest?.disks ?? []).map(({ target, device, readOnly, place, encrypted, layers, problem }) => ({
      target,
      device,
      readOnly,
      place,
      encrypted,
      ciphers: [...new Set(layers ? allLayers(layers).flatMap((l) => (l.encrypts ? (l.cipher ?? []) : [])) : [])],
      inside: layers?.kind === "luks inside",
      ends: [...new Set(layers ? bareEnds(layers).map((l) => l.path ?? l.name) : [])],
      problem,
    })),
  verdict: (disks) => verdictOf(disks.length === 0 ? [remark("n-a", "no-disks")] : disks.map(judge)),
};

function judge(disk: DiskFacts): Remark {
  const names = { disk: value.text(disk.target), place: value.path(disk.place) };
  const ends = value.path(disk.ends.join(", "));
  if (disk.encrypted === "yes")
    return remark("pass", disk.inside ? "inside" : "encrypted", {
      ...names,
      ciphers: value.text(disk.ciphers.join(", ")),
    });
  // What can only be read holds what somebody else wrote: an installation medium, as a rule.
  if (disk.readOnly && disk.encrypted === "no") return remark("warn", "read-only", { ...names, ends });
  if (disk.encrypted === "no") return remark("fail", "plain", { ...names, ends });
  const reason = disk.problem ?? `${disk.ends.join(", ")}: nothing is known of what lies below`;
  return remark("unknown", "unknown", { ...names, reason: value.path(reason) });
}
