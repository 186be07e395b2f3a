import type { Element } from "@xmldom/xmldom";
import { printable } from "../bytes/text.ts";
import { type Guard, readGuard, type UNREADABLE } from "./guard.ts";
import { type DiskPlace, placeOf } from "./place.ts";
import { attributeOf, childOf, childrenOf, parseXml, textOf } from "./xml.ts";

/** What libvirt's XML says of a guest (libvirt, "Domain XML format"), as far as its storage goes. Unknown elements are passed over. */
export interface Domain {
  readonly name: string;
  readonly uuid: string;
  /** `kvm`, `qemu`, `test` … */
  readonly type: string;
  /** `pc-q35-7.2`; null: libvirt's choice. */
  readonly machine: string | null;
  /** In the order of the XML, which is the guest's: libvirt keeps disks sorted by bus and target. */
  readonly disks: readonly DomainDisk[];
  /** The file with the firmware's variables, or null. */
  readonly nvram: string | null;
  /** Set while and after its storage is migrated. */
  readonly guard: Guard | typeof UNREADABLE | null;
}

export interface DomainDisk {
  /** `vda`: libvirt's name for it, unique in the guest. */
  readonly target: string;
  readonly bus: string | null;
  readonly device: "disk" | "lun" | "cdrom" | "floppy";
  readonly place: DiskPlace;
  /** As QEMU calls it. A disk whose format is not given is raw: libvirt never looks at its content. */
  readonly format: string;
  readonly readOnly: boolean;
  /** Other guests may write it at the same time. */
  readonly shareable: boolean;
  /** The guest starts without it when it is not there (`startupPolicy`, other than mandatory). */
  readonly optional: boolean;
  /** `unmap`: what the guest discards is passed on; null: libvirt's default, `ignore`. */
  readonly discard: string | null;
  /** What QEMU decrypts, or null. */
  readonly encryption: { readonly format: string; readonly secret: string | null } | null;
  /** Images below it as the XML says, topmost first; libvirt asks the images themselves for what comes after the last, unless `chainEnds`. */
  readonly backing: readonly BackingImage[];
  readonly chainEnds: boolean;
  /** Why the bytes of its place are not the disk's own, or null: a slice, a layout of an element that is not known. */
  readonly refused: string | null;
}

export interface BackingImage {
  readonly place: DiskPlace;
  readonly format: string;
}

const DEVICES = ["disk", "lun", "cdrom", "floppy"] as const;
/** A chain longer than libvirt's own limit (VIR_MAX_BACKING_CHAIN in 200 images) is not followed. */
const MAX_CHAIN = 200;

/** Reads what `virsh dumpxml` prints. Throws `corrupt` when it is no domain. */
export function parseDomain(xml: string): Domain {
  const root = parseXml(xml, "domain");
  const devices = childOf(root, "devices");
  const os = childOf(root, "os");
  const nvram = childOf(os, "nvram");
  return {
    name: textOf(childOf(root, "name")) ?? "",
    uuid: textOf(childOf(root, "uuid")) ?? "",
    type: attributeOf(root, "type") ?? "",
    machine: attributeOf(childOf(os, "type"), "machine"),
    disks: devices === null ? [] : childrenOf(devices, "disk").map(diskOf),
    nvram: attributeOf(childOf(nvram, "source"), "file") ?? textOf(nvram)?.trim() ?? null,
    guard: readGuard(root),
  };
}

function diskOf(disk: Element): DomainDisk {
  const source = childOf(disk, "source");
  const device = DEVICES.find((d) => d === attributeOf(disk, "device")) ?? "disk";
  const chain = backingOf(disk);
  return {
    target: attributeOf(childOf(disk, "target"), "dev") ?? "",
    bus: attributeOf(childOf(disk, "target"), "bus"),
    device,
    place: placeOf(attributeOf(disk, "type") ?? "file", source),
    format: formatOf(attributeOf(childOf(disk, "driver"), "type")),
    readOnly: childOf(disk, "readonly") !== null || device === "cdrom",
    shareable: childOf(disk, "shareable") !== null,
    optional: !["mandatory", null].includes(attributeOf(source, "startupPolicy")),
    discard: attributeOf(childOf(disk, "driver"), "discard"),
    encryption: encryptionOf(childOf(disk, "encryption") ?? childOf(source, "encryption")),
    ...chain,
    refused: refusalOf(disk, source),
  };
}

function formatOf(name: string | null): string {
  // QEMU has a driver of its own for LUKS in a file; for us it is a layer in a raw disk, as its first bytes say.
  return name === null || name === "luks" ? "raw" : name;
}

function encryptionOf(element: Element | null): DomainDisk["encryption"] {
  if (element === null) return null;
  const format = attributeOf(element, "format") ?? "default";
  return format === "default" ? null : { format, secret: attributeOf(childOf(element, "secret"), "uuid") };
}

/** `<backingStore>` nests; one without content says that nothing lies below. */
function backingOf(disk: Element): { backing: readonly BackingImage[]; chainEnds: boolean } {
  const backing: BackingImage[] = [];
  let store = childOf(disk, "backingStore");
  while (store !== null && backing.length < MAX_CHAIN) {
    const source = childOf(store, "source");
    if (source === null) return { backing, chainEnds: true };
    const format = formatOf(attributeOf(childOf(store, "format"), "type"));
    backing.push({ place: placeOf(attributeOf(store, "type") ?? "file", source), format });
    store = childOf(store, "backingStore");
  }
  return { backing, chainEnds: false };
}

function refusalOf(disk: Element, source: Element | null): string | null {
  if (childOf(childOf(source, "slices"), "slice") !== null) return "the guest sees a slice of it only (<slices>)";
  const device = attributeOf(disk, "device");
  if (device !== null && !DEVICES.some((d) => d === device))
    return `its kind of device, ${printable(device)}, is not known`;
  return null;
}
