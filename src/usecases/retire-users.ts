import { realpathSync, statSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type HostDevice, restsOn } from "../host/rests-on.ts";
import type { SourceIdentity } from "../host/source-identity.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { pathOf } from "./guest-sources.ts";
import { type Guest, type GuestOptions, listGuests, readGuest } from "./guests.ts";
import { encryptionInside } from "./look-for-luks.ts";

/** A path that a guest relies on. */
interface Use {
  readonly guest: string;
  readonly path: string;
  readonly as: string;
}

/**
 * Throws `locked` when a guest other than `old` uses one of these files and devices: as a disk, as an image below one, as firmware variables, as a device
 * that lies on it or under it. Throws what libvirt says when a guest or connection cannot be read: it could use them.
 */
export async function refuseUsed(
  identities: readonly SourceIdentity[],
  old: Guest | null,
  options: GuestOptions,
): Promise<void> {
  const { guests, failures } = await listGuests(options);
  const [unreached] = failures;
  if (unreached) throw unreached;
  for (const entry of guests) {
    if (entry.uuid === old?.uuid && entry.uri === old.uri) continue;
    const guest = await readGuest(entry, options);
    for (const use of await usesOf(guest, options)) {
      const met = identities.find((identity) => meets(use.path, identity));
      if (met === undefined) continue;
      throw new StorageError("locked", `${printable(met.realpath)} is used by the guest ${use.guest} (${use.as})`, {
        layer: "libvirt",
        hint: "nothing was destroyed; take it out of that guest first, if it may be lost",
      });
    }
  }
}

async function usesOf(guest: Guest, options: GuestOptions): Promise<Use[]> {
  const name = printable(guest.name);
  const uses: Use[] = [];
  if (guest.domain.nvram !== null) uses.push({ guest: name, path: guest.domain.nvram, as: "firmware variables" });
  for (const disk of guest.domain.disks) {
    const as = `disk ${printable(disk.target)}`;
    const places = [disk.place, ...disk.backing.map((b) => b.place)];
    for (const [i, declared] of places.entries()) {
      const place = await pathOf(declared, guest, options);
      if (place.kind !== "file" && place.kind !== "block") continue;
      uses.push({ guest: name, path: place.path, as: i === 0 ? as : `image below its ${as}` });
      if (i > 0 || disk.device === "cdrom" || disk.device === "floppy") continue;
      const inside = attempt(() => realpathSync(place.path));
      const named = inside === null ? [] : (await encryptionInside(disk, inside)).named;
      uses.push(...named.map((path) => ({ guest: name, path, as: `image below its ${as}` })));
    }
  }
  return uses;
}

/** The same file or device, or one that lies on it or under it. */
export function meets(path: string, identity: SourceIdentity): boolean {
  const other = attempt(() => sourceIdentity(path));
  if (other === null) return path === identity.realpath;
  if (other.realpath === identity.realpath) return true;
  if (other.kind === identity.kind && other.dev === identity.dev && other.ino === identity.ino) return true;
  const [above, own] = [attempt(() => restsOn(path)), attempt(() => restsOn(identity.realpath))];
  if (above === null || own === null) return false;
  const isDevice = (p: string) => attempt(() => statSync(p).isBlockDevice()) === true;
  return (
    all(above).some((d) => d.kind === "loop" && attempt(() => realpathSync(d.path)) === identity.realpath) ||
    (isDevice(identity.realpath) && all(above).some((d) => d.name === own.name)) ||
    (isDevice(path) && all(own).some((d) => d.name === above.name))
  );
}

function all(device: HostDevice): HostDevice[] {
  return [device, ...device.below.flatMap(all)];
}

function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
