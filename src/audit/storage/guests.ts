import type { DomainDisk } from "../../libvirt/domain.ts";
import { type DiskPlace, describePlace } from "../../libvirt/place.ts";
import type { AuditDisk, AuditGuest, AuditLayer, HostReader } from "../model.ts";
import { besideDisks } from "./beside-disks.ts";
import { type ListedGuest, listDomains, VIRSH } from "./domains.ts";
import { imageLayers } from "./images.ts";
import { encryptionOf, type Storage, storageOf, unknown } from "./layers.ts";
import { luksInside } from "./luks-inside.ts";

/** All guests with what their disks lie on; null: libvirt was not reached. */
export async function auditGuests(host: HostReader): Promise<AuditGuest[] | null> {
  const [domains, storage] = await Promise.all([listDomains(host), storageOf(host)]);
  return domains === null ? null : Promise.all(domains.map((d) => guestOf(d, host, storage)));
}

async function guestOf(listed: ListedGuest, host: HostReader, storage: Storage): Promise<AuditGuest> {
  const { name, uuid, state, autostart, live, inactive } = listed;
  // Both count: the disks that it has now, and those that it will have.
  const definitions = [live, inactive].filter((d) => d !== null);
  const disks: AuditDisk[] = [];
  const seen = new Set<string>();
  for (const { disks: own, nvram } of definitions) {
    for (const disk of own) {
      const key = JSON.stringify([disk.target, disk.place, disk.format]);
      if (disk.place.kind === "empty" || seen.has(key)) continue;
      seen.add(key);
      disks.push(await diskOf(disk, host, storage));
    }
    if (nvram !== null && !seen.has(nvram)) {
      seen.add(nvram);
      disks.push(await nvramOf(nvram, host, storage));
    }
  }
  disks.push(...(await besideDisks(uuid, host, storage)));
  if (definitions.length === 0) {
    const problem = "libvirt's definition of the guest was not read";
    const base = { target: "?", device: "disk", format: null, readOnly: false, place: "?" };
    disks.push({ ...base, encrypted: "unknown", layers: null, problem });
  }
  return { name, uuid, state, autostart, disks };
}

/** libvirt makes it when the guest is started for the first time. */
async function nvramOf(path: string, host: HostReader, storage: Storage): Promise<AuditDisk> {
  const there = (await host.stat(path)) !== null;
  const layers = await (there ? storage.under(path) : storage.wouldBeUnder(path));
  const encrypted = encryptionOf(layers);
  return {
    target: "nvram",
    device: "nvram",
    format: "raw",
    readOnly: false,
    place: path,
    encrypted,
    layers,
    problem: null,
  };
}

async function diskOf(disk: DomainDisk, host: HostReader, storage: Storage): Promise<AuditDisk> {
  const { target, device, format, readOnly, refused } = disk;
  const place = await localPlace(disk.place, host);
  const base = { target, device, format, readOnly, place: describePlace(place) };
  if (place.kind !== "file" && place.kind !== "block") {
    const layers: AuditLayer = { ...unknown(base.place, null), kind: place.kind === "volume" ? "unknown" : "network" };
    const problem = place.kind === "volume" ? "libvirt did not say where the volume is" : "it is not on this host";
    return { ...base, encrypted: "unknown", layers, problem };
  }
  const { layers, problem } = await imageLayers(place.path, format, disk.encryption?.format === "luks", host, storage);
  const inside =
    (device === "disk" || device === "lun") && encryptionOf(layers) !== "yes"
      ? await luksInside(place.path, format, layers, host)
      : null;
  const known = encryptionOf(inside ?? layers);
  return {
    ...base,
    encrypted: refused !== null && known === "yes" ? "unknown" : known,
    layers: inside ?? layers,
    problem: refused ?? problem,
  };
}

/** A volume of a storage pool becomes the path that libvirt says. */
async function localPlace(place: DiskPlace, host: HostReader): Promise<DiskPlace> {
  if (place.kind !== "volume") return place;
  const result = await host.run([...VIRSH, "vol-path", `--vol=${place.volume}`, `--pool=${place.pool}`]);
  const path = result.kind === "ran" && result.exit === 0 ? result.stdout.trim() : "";
  return path.startsWith("/") ? { kind: path.startsWith("/dev/") ? "block" : "file", path } : place;
}
