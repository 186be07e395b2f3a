import { realpathSync, statSync } from "node:fs";
import { describeError, StorageError } from "../core/errors.ts";
import { lastCheck } from "../host/check-store.ts";
import { type HostDevice, isEncrypted, restsOn } from "../host/rests-on.ts";
import { retirementOf } from "../host/retirement-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { startProblem, UNREADABLE } from "../libvirt/guard.ts";
import { type DiskPlace, describePlace } from "../libvirt/place.ts";
import { looseEnds } from "../tools/dmsetup.ts";
import type {
  FindingDocument,
  GuestDiskDocument,
  GuestDocument,
  GuestsDocument,
  LastCheckDocument,
} from "./documents.ts";
import { migrationOf } from "./guest-migration.ts";
import { pathOf } from "./guest-sources.ts";
import { type Guest, type GuestOptions, listGuests, readGuest } from "./guests.ts";
import { encryptionInside } from "./look-for-luks.ts";

/** All guests that libvirt knows, with what their disks rest on. Nothing is locked or written; a running guest is not disturbed. */
export async function guests(options: GuestOptions): Promise<GuestsDocument> {
  const list = await listGuests(options);
  const findings: FindingDocument[] = list.failures.map((f) => finding("libvirt-unreachable", describeError(f)));
  const known: Guest[] = [];
  const users = new Map<string, string[]>();
  for (const entry of list.guests) {
    try {
      known.push(await readGuest(entry, options));
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
      // It may have been undefined meanwhile.
      findings.push(finding("libvirt-guest-unreadable", `${entry.name}: ${describeError(error)}`));
    }
  }
  const found: GuestDocument[] = [];
  for (const guest of known) {
    const document = { ...(await guestDocument(guest, options)), migration: migrationOf(guest, known) };
    found.push(document);
    if (guest.domain.guard === UNREADABLE)
      findings.push(finding("libvirt-migration-mark", `${guest.name}: ${startProblem(UNREADABLE)!.what}`));
    for (const { path, writable } of document.disks.map(used)) {
      if (path !== null && writable) users.set(path, [...(users.get(path) ?? []), document.name]);
    }
  }
  for (const [path, names] of users) {
    if (names.length > 1)
      findings.push(finding("libvirt-shared-disk", `${path} is a disk of several guests: ${names.join(", ")}`));
  }
  return { schema: "unterbau/list/1", guests: found, findings };
}

function finding(code: string, message: string): FindingDocument {
  return { severity: "warning", code, message, layer: "libvirt" };
}

function used(disk: GuestDiskDocument): { path: string | null; writable: boolean } {
  return { path: disk.path, writable: disk.device === "disk" && !disk.readOnly };
}

async function guestDocument(guest: Guest, options: GuestOptions): Promise<Omit<GuestDocument, "migration">> {
  const disks: GuestDiskDocument[] = [];
  for (const disk of guest.domain.disks) disks.push(unlessRetired(await diskDocument(disk, guest, options), guest));
  const own = disks.filter((d) => (d.device === "disk" || d.device === "lun") && d.place !== "no medium");
  const { name, uuid, uri, state, managedSave, persistent, domain } = guest;
  return {
    name,
    uuid,
    connection: uri,
    state,
    managedSave,
    persistent,
    nvram: domain.nvram,
    encrypted: own.length > 0 && own.every((d) => d.encrypted),
    disks,
  };
}

/** What is destroyed, or half so, is not shown as if it were whole. */
function unlessRetired(disk: GuestDiskDocument, { domain: { guard } }: Guest): GuestDiskDocument {
  if (guard === null || guard === UNREADABLE || guard.role !== "old") return disk;
  const record = retirementOf(guard.run);
  if (record === null || !record.targets.some((t) => t.identity.realpath === disk.path || t.path === disk.place))
    return disk;
  const problem =
    record.state === "done"
      ? `it was destroyed on ${record.ended?.slice(0, 10)} (unterbau retire --show ${record.run})`
      : `it is destroyed in part (unterbau retire --resume ${record.run} goes on)`;
  return { ...disk, encrypted: false, lastCheck: null, problem };
}

async function diskDocument(disk: DomainDisk, guest: Guest, options: GuestOptions): Promise<GuestDiskDocument> {
  const { target, device, format, readOnly, shareable } = disk;
  const base = { target, device, format, readOnly, shareable };
  const nowhere = { path: null, size: null, backing: [], restsOn: [], encryption: null, lastCheck: null };
  let place: DiskPlace;
  try {
    place = await pathOf(disk.place, guest, options);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
    return { ...base, ...nowhere, place: describePlace(disk.place), encrypted: false, problem: describeError(error) };
  }
  const text = describePlace(place);
  if (place.kind !== "file" && place.kind !== "block")
    return { ...base, ...nowhere, place: text, encrypted: false, problem: null };
  try {
    const path = realpathSync(place.path);
    const inside = device === "cdrom" || device === "floppy" ? null : await encryptionInside(disk, path);
    // The images below hold the guest's bytes as well.
    const backing = [...new Set([...(inside?.named ?? []), ...disk.backing.flatMap((b) => localPath(b.place))])];
    const under = [path, ...backing].map((p) => restsOn(p));
    const loose = await looseEnds(under.flatMap(cryptNames));
    const onCrypt = under.every(isEncrypted) && loose.length === 0;
    return {
      ...base,
      place: text,
      path,
      size: sourceIdentity(path).size,
      backing,
      restsOn: under,
      encryption: { host: onCrypt, inside: inside?.state ?? null, byQemu: disk.encryption !== null },
      encrypted: onCrypt || inside?.state === "full",
      lastCheck: lastCheckOf(path, guest),
      problem: null,
    };
  } catch (error) {
    const gone = (error as NodeJS.ErrnoException).code === "ENOENT";
    const reason = gone ? "it is not there" : error instanceof Error ? describeError(error) : String(error);
    return { ...base, ...nowhere, place: text, encrypted: false, problem: reason };
  }
}

function localPath(place: DiskPlace): string[] {
  return place.kind === "file" || place.kind === "block" ? [realpathSync(place.path)] : [];
}

function cryptNames(device: HostDevice): string[] {
  return [...(device.kind === "crypt" ? [device.path] : []), ...device.below.flatMap(cryptNames)];
}

/** A guest that runs may change its disks at any time; of a file that is off the time of its last change is known, of a device nothing is. */
function lastCheckOf(path: string, guest: Guest): LastCheckDocument | null {
  const identity = sourceIdentity(path);
  const record = lastCheck(identity);
  if (record === null) return null;
  const { checked, mode, verdict, complete } = record;
  const since =
    guest.state !== "shut off" ? true : identity.kind === "file" ? statSync(path).ctimeMs > Date.parse(checked) : null;
  return { checked, mode, verdict: verdict as LastCheckDocument["verdict"], complete, changedSince: since };
}
