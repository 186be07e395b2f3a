import { ENC_02 } from "../catalogue/enc.ts";
import type { Check } from "../model.ts";
import { type CryptVolume, cryptLayersOf, layersKnown, noVolumes } from "../storage/crypt-volumes.ts";
import { allLayers, encryptionOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly known: boolean;
  readonly volumes: readonly Pick<CryptVolume, "name" | "on" | "onEncrypted">[];
  /** Disks that QEMU decrypts, or the guest itself: the container is a file or a volume of the host's. */
  readonly inside: readonly {
    readonly disk: string;
    readonly place: string;
    readonly on: string;
    readonly onEncrypted: string;
  }[];
}

/** What a whole volume lies on. */
const WHOLE = /^(partition|lvm|disk|raid.*|multipath|integrity)$/;

export const enc02: Check<Facts> = {
  ...ENC_02,
  about: "guest",
  explanation: {
    de: "Ein Container in einer Datei eines unverschlüsselten Dateisystems verrät Namen, Größe und Zeiten und lässt Kopien und Reste von sich zurück, etwa im Journal oder in Sicherungen. Eine ganze Partition oder ein ganzes Volume tut das nicht.",
    en: "A container in a file of an unencrypted file system gives away its name, size and times, and leaves copies and remains, in a journal or in backups for instance. A whole partition or volume does not.",
  },
  remedy: {
    de: "Verlegen Sie den Container auf eine Partition oder ein logisches Volume (`unterbau migrate vm:NAME --to-device`), oder verschlüsseln Sie das Dateisystem, in dem er liegt.",
    en: "Move the container to a partition or logical volume (`unterbau migrate vm:NAME --to-device`), or encrypt the file system that it lies in.",
  },
  sentences: {
    whole: {
      de: "{volume} verschlüsselt ein ganzes Gerät ({on}).",
      en: "{volume} encrypts a whole device ({on}).",
    },
    "file-encrypted": {
      de: "{volume} ist eine Containerdatei; das Dateisystem, in dem sie liegt, ist seinerseits verschlüsselt.",
      en: "{volume} is a container file; the file system that it lies in is encrypted itself.",
    },
    "file-plain": {
      de: "{volume} ist eine Containerdatei in einem unverschlüsselten Dateisystem.",
      en: "{volume} is a container file in an unencrypted file system.",
    },
    "on-unknown": {
      de: "Worauf {volume} liegt, ist nicht feststellbar.",
      en: "What {volume} lies on cannot be determined.",
    },
  },
  collect: async ({ guest }) => ({
    known: layersKnown(guest),
    volumes: cryptLayersOf(guest).map(({ name, below }) => ({
      name,
      on: below[0]?.kind ?? "unknown",
      onEncrypted: below[0] ? encryptionOf(below[0]) : "unknown",
    })),
    inside: (guest?.disks ?? []).flatMap(({ target, place, layers }) =>
      (layers ? allLayers(layers) : []).flatMap((l) =>
        l.kind === "luks inside" && l.below[0]
          ? [{ disk: target, place, on: l.below[0].kind, onEncrypted: encryptionOf(l.below[0]) }]
          : [],
      ),
    ),
  }),
  verdict: ({ known, volumes, inside }) => {
    const all = [
      ...volumes.map((v) => ({ volume: value.text(v.name), on: v.on, onEncrypted: v.onEncrypted as string })),
      ...inside.map((i) => ({ volume: value.path(i.place), on: i.on, onEncrypted: i.onEncrypted })),
    ];
    if (all.length === 0) return verdictOf([noVolumes(known)]);
    return verdictOf(
      all.map(({ volume, on, onEncrypted }) => {
        if (WHOLE.test(on)) return remark("pass", "whole", { volume, on: value.text(on) });
        if (on !== "loop" && on !== "file system") return remark("unknown", "on-unknown", { volume });
        if (onEncrypted === "unknown") return remark("unknown", "on-unknown", { volume });
        return onEncrypted === "yes"
          ? remark("warn", "file-encrypted", { volume })
          : remark("fail", "file-plain", { volume });
      }),
    );
  },
};
