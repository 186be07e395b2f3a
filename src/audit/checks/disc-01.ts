import { attributeOf, childOf, childrenOf } from "../../libvirt/xml.ts";
import { DISC_01 } from "../catalogue/disc.ts";
import { declaredVolume } from "../declared-luks.ts";
import type { Check, Remark } from "../model.ts";
import { cryptVolumes, noVolumes } from "../storage/crypt-volumes.ts";
import { definitions } from "../storage/domain-xml.ts";
import { allLayers, storageOf } from "../storage/layers.ts";
import { remark, value, verdictOf } from "../verdict.ts";

interface Facts {
  readonly known: boolean;
  readonly volumes: readonly {
    readonly name: string;
    readonly uuid: string | null /** Null: the table was not told. */;
    readonly passes: boolean | null;
  }[];
  /** Targets of disks whose discards QEMU passes on. */
  readonly unmap: readonly string[] | null;
  readonly media: readonly {
    readonly name: string;
    readonly rotational: boolean | null;
    readonly transport: string | null;
    readonly model: string | null;
  }[];
}

export const disc01: Check<Facts> = {
  ...DISC_01,
  about: "guest",
  explanation: {
    de: "Reicht die Verschlüsselung TRIM durch, ist auf dem Datenträger zu sehen, welche Bereiche frei sind; reicht sie es nicht durch, bleiben gelöschte (verschlüsselte) Blöcke länger liegen und SSDs werden langsamer. Beides ist vertretbar, aber es gehört entschieden und gleich eingestellt. Ob ein Datenträger SSD oder Festplatte ist, bestimmt außerdem, wie er zu löschen ist.",
    en: "Where the encryption passes TRIM on, the disk shows which areas are free; where it does not, deleted (encrypted) blocks stay longer and SSDs get slower. Both can be defended, but it should be decided and set throughout. Whether a disk is an SSD or a hard disk also decides how it has to be erased.",
  },
  remedy: {
    de: "Entscheiden Sie je Volume und tragen Sie es in scope.yaml ein (`luks: {UUID: {discard: true|false}}`); `cryptsetup --persistent --allow-discards refresh NAME` oder `discard` in /etc/crypttab, `<driver discard='unmap'/>` beim Gast. `unterbau trim explain vm:NAME` zeigt die Kette.",
    en: "Decide for each volume and write it into scope.yaml (`luks: {UUID: {discard: true|false}}`); `cryptsetup --persistent --allow-discards refresh NAME` or `discard` in /etc/crypttab, `<driver discard='unmap'/>` in the guest. `unterbau trim explain vm:NAME` shows the chain.",
  },
  sentences: {
    blocked: {
      de: "{volume} reicht TRIM nicht durch: Freie Bereiche sind nicht erkennbar.",
      en: "{volume} does not pass TRIM on: free areas cannot be seen.",
    },
    decided: {
      de: "{volume} reicht TRIM durch, wie erklärt: Freie Bereiche sind auf dem Datenträger erkennbar.",
      en: "{volume} passes TRIM on, as declared: free areas can be seen on the disk.",
    },
    passes: {
      de: "{volume} reicht TRIM durch: Freie Bereiche sind auf dem Datenträger erkennbar. Eine Entscheidung dazu ist nicht erklärt.",
      en: "{volume} passes TRIM on: free areas can be seen on the disk. No decision about it is declared.",
    },
    "not-as-declared": {
      de: "{volume}: TRIM ist anders eingestellt als erklärt.",
      en: "{volume}: TRIM is set otherwise than declared.",
    },
    "half-way": {
      de: "Der Gast gibt TRIM weiter ({disks}), aber {volume} reicht es nicht durch.",
      en: "The guest passes TRIM on ({disks}), but {volume} does not.",
    },
    "table-unknown": {
      de: "Ob {volume} TRIM durchreicht, ist nicht feststellbar.",
      en: "Whether {volume} passes TRIM on cannot be determined.",
    },
    medium: {
      de: "Datenträger {disk}: {kind} ({model}).",
      en: "Disk {disk}: {kind} ({model}).",
    },
    "medium-unknown": {
      de: "Ob {disk} eine SSD oder eine Festplatte ist, ist nicht feststellbar.",
      en: "Whether {disk} is an SSD or a hard disk cannot be determined.",
    },
  },
  collect: async ({ guest, host }) => {
    const storage = await storageOf(host);
    const { volumes, known } = await cryptVolumes(guest, host, storage);
    const domains = guest === null ? [] : await definitions(host, guest.uuid);
    const unmap = domains.flatMap((d) => {
      const devices = childOf(d, "devices");
      return (devices === null ? [] : childrenOf(devices, "disk")).flatMap((disk) =>
        attributeOf(childOf(disk, "driver"), "discard") === "unmap"
          ? (attributeOf(childOf(disk, "target"), "dev") ?? [])
          : [],
      );
    });
    const media = new Map<string, Facts["media"][number]>();
    for (const { layers } of guest?.disks ?? [])
      for (const l of layers ? allLayers(layers) : [])
        if (l.kind === "disk" && l.medium) {
          const { rotational, transport, model } = l.medium;
          media.set(l.name, { name: l.name, rotational, transport, model });
        }
    return {
      known,
      volumes: volumes.map(({ name, header, deviceUuid, table }) => ({
        name,
        uuid: header?.uuid ?? deviceUuid,
        passes: table === null ? null : table.some((s) => s.options.includes("allow_discards")),
      })),
      unmap: domains.length === 0 ? null : [...new Set(unmap)],
      media: [...media.values()],
    };
  },
  verdict: ({ known, volumes, unmap, media }, { declared }) => {
    if (volumes.length === 0) return verdictOf([noVolumes(known)]);
    const found: Remark[] = [];
    for (const { name, uuid, passes } of volumes) {
      const volume = value.text(name);
      const wanted = declaredVolume(declared, uuid, name)?.discard;
      if (passes === null) found.push(remark("unknown", "table-unknown", { volume }));
      else if (wanted !== undefined && wanted !== passes) found.push(remark("warn", "not-as-declared", { volume }));
      else if (passes)
        found.push(wanted === true ? remark("pass", "decided", { volume }) : remark("warn", "passes", { volume }));
      else found.push(remark("pass", "blocked", { volume }));
    }
    const stopping = volumes.filter((v) => v.passes === false);
    if (unmap !== null && unmap.length > 0 && stopping.length === volumes.length)
      found.push(
        remark("warn", "half-way", { disks: value.text(unmap.join(", ")), volume: value.text(stopping[0]!.name) }),
      );
    for (const { name, rotational, transport, model } of media) {
      const disk = value.text(name);
      const kind = value.text(`${rotational ? "HDD" : "SSD"}${transport === null ? "" : `, ${transport}`}`);
      if (rotational === null) found.push(remark("unknown", "medium-unknown", { disk }));
      else found.push(remark("pass", "medium", { disk, kind, model: value.serial(model ?? "?") }));
    }
    return verdictOf(found);
  },
};
