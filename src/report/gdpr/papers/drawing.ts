import type { AuditGuest, AuditLayer, Lang, Text } from "../../../audit/model.ts";
import type { Box, Drawing, Run } from "../model.ts";
import { kinded } from "../text.ts";

const KINDS: Readonly<Record<string, Text>> = {
  image: { de: "Abbild", en: "image" },
  "backing image": { de: "unterliegendes Abbild", en: "backing image" },
  "file system": { de: "Dateisystem", en: "file system" },
  loop: { de: "Loop-Gerät", en: "loop device" },
  lvm: { de: "logisches Volume", en: "logical volume" },
  crypt: { de: "Verschlüsselung", en: "encryption" },
  "luks inside": { de: "Verschlüsselung im Abbild", en: "encryption in the image" },
  partition: { de: "Partition", en: "partition" },
  disk: { de: "Datenträger", en: "disk" },
  multipath: { de: "Multipath", en: "multipath" },
  memory: { de: "Arbeitsspeicher", en: "memory" },
  network: { de: "Netz", en: "network" },
  unknown: { de: "unbekannt", en: "unknown" },
};

/** Layers that a drawing shows below each other, and beside each other: a hostile stack may be any size. */
const DEEPEST = 24;
const WIDEST = 16;

export function drawingOf(guest: AuditGuest, lang: Lang): Drawing {
  return {
    guest: [kinded("guest", guest.name)],
    disks: guest.disks.map(({ target, device, encrypted, layers }) => ({
      title: [kinded("text", `${target} (${device})`)],
      encrypted,
      box: layers && boxOf(layers, lang, 0),
    })),
  };
}

function boxOf(layer: AuditLayer, lang: Lang, depth: number): Box {
  const kind = KINDS[layer.kind]?.[lang] ?? layer.kind;
  const detail: Run[] = [];
  const say = (text: string) => detail.push(kinded("text", text));
  if (layer.cipher !== null) say(layer.cipher);
  if (layer.keyBits !== null) say(`${layer.keyBits} bit`);
  const { medium } = layer;
  if (medium?.transport) say(medium.transport);
  if (medium?.rotational === true) say("HDD");
  if (medium?.rotational === false) say("SSD");
  if (medium?.model) say(medium.model);
  if (medium?.serial) detail.push(kinded("serial", medium.serial));
  return {
    title: [kinded("text", kind), kinded("path", layer.name)],
    detail,
    encrypts: layer.encrypts,
    below: depth >= DEEPEST ? [] : layer.below.slice(0, WIDEST).map((below) => boxOf(below, lang, depth + 1)),
  };
}
