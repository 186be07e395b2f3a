import { printable } from "../bytes/text.ts";
import type { DiscardFacts } from "../host/discard.ts";
import type { MountedNow } from "../host/mount-table.ts";
import type { HostDevice } from "../host/rests-on.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { quote } from "../plan/quote.ts";
import type { TrimLinkDocument } from "./trim-documents.ts";

/** QEMU's own device passes discards since this machine version (QEMU 4.0: hw/core/machine.c, virtio-blk-device.discard). */
const VIRTIO_DISCARD = 4;
/** Buses whose emulated disks know TRIM, UNMAP or DEALLOCATE. */
const BUSES = ["scsi", "sata", "ide", "usb"];
/** File systems that punch holes into files and pass what is freed on. */
const PUNCHING = ["ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ocfs2"];

const ESCAPES_CRYPT =
  "whoever reads the disk sees which blocks are unused: how full it is, and by the pattern often the kind of file system (cryptsetup FAQ, 5.19)";

function link(
  layer: string,
  name: string,
  passes: boolean | null,
  why: string,
  turnOn: readonly string[] = [],
  givesAway: string | null = null,
): TrimLinkDocument {
  return { layer, name, passes, why, turnOn, givesAway };
}

/** The guest's drive as QEMU shows it, and the image in its file. */
export function driveLinks(guest: string, machine: string | null, disk: DomainDisk): TrimLinkDocument[] {
  return [busLink(machine, disk), driverLink(guest, disk), imageLink(disk)];
}

function busLink(machine: string | null, { bus, target }: DomainDisk): TrimLinkDocument {
  if (bus === "virtio") {
    const version = Number(/-(\d+)\.\d+$/.exec(machine ?? "")?.[1] ?? VIRTIO_DISCARD);
    if (version >= VIRTIO_DISCARD) return link("bus", target, true, "virtio-blk knows discard");
    const turnOn = [
      "a newer machine type in the guest's XML (virsh edit): <type machine='q35'>",
      "or bus='scsi' with virtio-scsi",
    ];
    return link(
      "bus",
      target,
      false,
      `virtio-blk of the machine type ${printable(machine ?? "")} does not know discard`,
      turnOn,
    );
  }
  if (bus !== null && BUSES.includes(bus)) return link("bus", target, true, `${bus} knows it`);
  return link("bus", target, null, `nothing is known of the bus ${printable(bus ?? "?")}`);
}

function driverLink(guest: string, { discard, target, format }: DomainDisk): TrimLinkDocument {
  if (discard === "unmap") return link("qemu", target, true, "discard='unmap'");
  const why = discard === null ? "no discard in <driver>, which is 'ignore'" : `discard='${printable(discard)}'`;
  const turnOn = [
    `<driver name='qemu' type='${printable(format)}' discard='unmap'/> in the disk ${printable(target)} (virsh edit ${quote(guest)}), then stop and start the guest`,
    `virt-xml ${quote(guest)} --edit target=${quote(target)} --disk driver.discard=unmap`,
  ];
  return link(
    "qemu",
    target,
    false,
    why,
    turnOn,
    "space that the guest frees is gone on the host: the image becomes sparse",
  );
}

function imageLink({ format, encryption, target }: DomainDisk): TrimLinkDocument {
  if (encryption !== null && format !== "qcow2") {
    return link("luks", target, false, "QEMU's own LUKS driver drops discards", [
      "encryption by the host (dm-crypt) passes them: unterbau migrate to a volume that the host opens",
    ]);
  }
  if (format === "raw") return link("raw", target, true, "nothing between the guest and the file or device");
  if (format === "qcow2") return link("qcow2", target, true, "freed clusters are given back to the file");
  return link(printable(format), target, null, "QEMU's driver for this format may drop it", [
    "unterbau convert makes a qcow2 of it",
  ]);
}

/** The file system of the host in which an image lies. */
export function hostFileLinks(mount: MountedNow | null, timer: boolean | null): TrimLinkDocument[] {
  if (mount === null) return [link("file system", "?", null, "the mount is not known")];
  const { type, where, options } = mount;
  const name = `${type} on ${where}`;
  if (!PUNCHING.includes(type))
    return [link("file system", name, null, `whether ${printable(type)} frees parts of files is not known`)];
  if (type === "tmpfs") return [link("file system", name, true, "memory is given back")];
  if (options.some((o) => o === "discard" || o.startsWith("discard=")))
    return [link("file system", name, true, "mounted with discard: at once")];
  if (timer) return [link("file system", name, true, "fstrim.timer passes it on, once a week")];
  const turnOn = ["systemctl enable --now fstrim.timer", `or the option discard in /etc/fstab for ${where}`];
  return [
    link(
      "file system",
      name,
      timer === null ? null : false,
      "nothing passes freed blocks on: no discard option, no fstrim.timer",
      turnOn,
    ),
  ];
}

/** Devices of the host from the top down; those side by side one after the other. */
export function deviceLinks(
  device: HostDevice,
  facts: (name: string) => DiscardFacts | null,
  fileLinks: (path: string) => TrimLinkDocument[],
): TrimLinkDocument[] {
  if (device.kind === "memory") return [link("memory", device.path, true, "nothing is on a disk")];
  const own = deviceLink(device, facts);
  const between = device.kind === "loop" ? fileLinks(device.path) : [];
  return [own, ...between, ...device.below.flatMap((d) => deviceLinks(d, facts, fileLinks))];
}

function deviceLink(device: HostDevice, facts: (name: string) => DiscardFacts | null): TrimLinkDocument {
  const { kind, path, name } = device;
  const own = facts(name);
  if (own === null) return link(kind, path, null, "the kernel tells nothing of it");
  if (own.max > 0) return link(kind, path, true, kind === "lvm" ? LVM_PASSES : `takes ${own.max} bytes at once`);
  const below = device.below.map((d) => facts(d.name));
  if (below.some((b) => b !== null && b.max === 0) && kind !== "disk")
    return link(kind, path, null, "cannot pass it on: what is below takes none");
  return drops(kind, path, own);
}

/** issue_discards is about LVM's own commands only (lvm.conf(5)); the guest's discards pass without it. */
const LVM_PASSES = "passes the guest's discards (issue_discards is for lvremove and lvreduce only)";

function drops(kind: string, path: string, own: DiscardFacts): TrimLinkDocument {
  const mapped = path.replace(/^\/dev\/mapper\//, "");
  switch (kind) {
    case "crypt":
      return link(
        kind,
        path,
        false,
        "opened without allow-discards",
        [
          `the option discard in its line of /etc/crypttab, for the next time`,
          `cryptsetup refresh --allow-discards ${quote(mapped)}   (now; with --persistent LUKS2 keeps it)`,
        ],
        ESCAPES_CRYPT,
      );
    case "lvm":
      return link(
        kind,
        path,
        false,
        "does not pass it: a thin pool whose discards are off, or a type that knows none",
        [`lvs -o+discards ${quote(mapped)}; lvchange --discards passdown POOL`],
      );
    case "raid4":
    case "raid5":
    case "raid6":
      return link(
        kind,
        path,
        false,
        "the kernel passes it for parity arrays only when told that it is safe",
        [
          "options raid456 devices_handle_discard_safely=Y in /etc/modprobe.d, for disks that return zeros after a TRIM",
        ],
        "data, if a disk does not return zeros: parity is calculated from them",
      );
    case "disk":
      return own.rotational
        ? link(kind, path, true, "a disk that turns: there is nothing to trim")
        : link(kind, path, false, "the device offers none (a controller or USB bridge may hide it)", [
            `lsblk --discard ${quote(path)}; for USB: unmap in /sys/block/…/device/scsi_disk/…/provisioning_mode, if the drive knows it`,
          ]);
    default:
      return link(kind, path, false, "takes none");
  }
}

/** The first that drops it, from the top. */
export function stopsAt(links: readonly TrimLinkDocument[]): string | null {
  const first = links.find((l) => l.passes === false);
  return first === undefined ? null : `${first.layer} ${first.name}`;
}
