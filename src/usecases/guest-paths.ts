import { StorageError } from "../core/errors.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import type { DiskPlace } from "../libvirt/place.ts";
import { attributeOf, childOf, parseXml, textOf } from "../libvirt/xml.ts";
import { virsh } from "../tools/virsh.ts";
import { pathOf } from "./guest-sources.ts";
import type { Guest, GuestOptions } from "./guests.ts";

/** Files and devices of this host without which the guest does not start: its disks, the images below them, the firmware's variables. */
export async function pathsToStart(guest: Guest, options: GuestOptions): Promise<string[]> {
  const paths: string[] = [];
  for (const disk of guest.domain.disks) {
    if (disk.optional || (disk.device !== "disk" && disk.device !== "lun" && disk.place.kind === "empty")) continue;
    for (const place of placesOf(disk)) {
      const found = await pathNow(place, guest, options);
      if (found !== null) paths.push(found);
    }
  }
  // libvirt makes this file from a template when it is not there.
  if (guest.domain.nvram?.startsWith("/")) paths.push(guest.domain.nvram.slice(0, guest.domain.nvram.lastIndexOf("/")));
  return [...new Set(paths)];
}

function placesOf(disk: DomainDisk): DiskPlace[] {
  return [disk.place, ...disk.backing.map((b) => b.place)];
}

/** Null for what lies on no path of this host. */
async function pathNow(place: DiskPlace, guest: Guest, options: GuestOptions): Promise<string | null> {
  if (place.kind === "volume") {
    try {
      return local(await pathOf(place, guest, options));
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      // A pool whose folder is not mounted is not active, but libvirt knows where it would be.
      const folder = await poolFolder(place.pool, guest, options);
      return folder === null ? null : `${folder}/${place.volume}`;
    }
  }
  return local(place);
}

function local(place: DiskPlace): string | null {
  return place.kind === "file" || place.kind === "block" ? place.path : null;
}

async function poolFolder(pool: string, guest: Guest, { signal }: GuestOptions): Promise<string | null> {
  const xml = await virsh(["pool-dumpxml", `--pool=${pool}`], { uri: guest.uri, readOnly: true, signal });
  const root = parseXml(xml, "pool");
  const path = textOf(childOf(childOf(root, "target"), "path"));
  return attributeOf(root, "type") === "disk" ? null : path;
}
