import { existsSync, realpathSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { printable } from "../bytes/text.ts";
import { ioError, StorageError } from "../core/errors.ts";
import { IMAGE_FORMATS, type ImageFormat } from "../core/layer.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { type DiskPlace, describePlace, nbdUri } from "../libvirt/place.ts";
import { virsh } from "../tools/virsh.ts";
import { findGuest, type Guest, guestOf, listGuests, readGuest, refuseUnlessOff } from "./guests.ts";
import { recoverLiveViews } from "./live-view.ts";
import type { Declared, SourceOptions } from "./source-options.ts";

/**
 * Puts the disks of guests in the place of `vm:NAME`, in the guest's order, with what libvirt says of each. Throws `locked` when a guest is
 * not off, `unsupported` for a disk that cannot be opened: without it the rest would be shown wrongly.
 */
export async function withGuests(options: SourceOptions, purpose: "read" | "write"): Promise<SourceOptions> {
  if (!options.sources.some((s) => guestOf(s) !== null)) return options;
  if (options.format !== undefined) {
    throw new StorageError("usage", "--format does not go with a guest: libvirt says which format each disk has", {
      layer: "libvirt",
      hint: "to open a disk in another way name its file",
    });
  }
  for (const line of await recoverLiveViews()) options.note?.(line);
  const sources: string[] = [];
  const declared = new Map<string, Declared>();
  for (const source of options.sources) {
    const name = guestOf(source);
    if (name === null) {
      sources.push(source);
      continue;
    }
    const guest = await findGuest(name, options);
    refuseUnlessOff(guest);
    if (purpose === "write") await refuseWriting(guest, options);
    else if (guest.managedSave) options.note?.(savedState(guest));
    for (const disk of await disksOf(guest, options)) {
      sources.push(disk.name);
      declared.set(disk.name, disk.declared);
    }
  }
  return { ...options, sources, declared };
}

/** Throws when a change of the disks would meet something else that relies on them. */
async function refuseWriting(guest: Guest, options: SourceOptions): Promise<void> {
  if (guest.managedSave) {
    throw new StorageError("locked", savedState(guest), {
      layer: "libvirt",
      hint: `start the guest and shut it down, or give its memory up: virsh managedsave-remove ${guest.uuid}`,
    });
  }
  const fixed = guest.domain.disks.find((d) => d.device === "disk" && d.readOnly);
  if (fixed) {
    throw new StorageError(
      "read-only",
      `the guest ${printable(guest.name)} may only read its disk ${printable(fixed.target)}`,
      {
        layer: "libvirt",
        hint: "others may rest on it; to change it all the same name its file",
      },
    );
  }
  await refuseShared(guest, options);
}

function savedState({ name }: Guest): string {
  return `the memory of the guest ${printable(name)} is saved and will be loaded at its next start: it knows the disks as they are now`;
}

/** Other guests that use a disk of this one, or rest on it: they must be off as well. Which of them are started later, their locks decide. */
async function refuseShared(guest: Guest, options: SourceOptions): Promise<void> {
  const { guests } = await listGuests(options);
  const own = await pathsOf(guest, options);
  for (const other of guests) {
    if (other.uuid === guest.uuid && other.uri === guest.uri) continue;
    const neighbour = await readGuest(other, options);
    const shared = (await pathsOf(neighbour, options)).find((path) => own.includes(path));
    if (shared === undefined) continue;
    const what = `${printable(shared)} belongs to the guest ${printable(neighbour.name)} too`;
    if (neighbour.state === "shut off" && !neighbour.managedSave) {
      options.note?.(`${what}: it is changed for both`);
      continue;
    }
    const state = neighbour.state === "shut off" ? "whose memory is saved" : `which is ${neighbour.state}`;
    throw new StorageError("locked", `${what}, ${state}`, { layer: "libvirt", hint: "shut that one down as well" });
  }
}

/** Real paths of a guest's disks and of what libvirt names below them; what is not there is left out. */
async function pathsOf(guest: Guest, options: SourceOptions): Promise<string[]> {
  const found: string[] = [];
  for (const disk of guest.domain.disks) {
    for (const place of [disk.place, ...disk.backing.map((b) => b.place)]) {
      // Other guests' disks are not at stake when their pool does not answer.
      const at = await pathOf(place, guest, options).catch(() => null);
      if (at?.kind === "file" || at?.kind === "block") found.push(realPath(at.path));
    }
  }
  return found;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * QEMU opens the images below a disk as libvirt's XML says, and where that says nothing, as the images say. We follow the images: throws
 * when both differ, for the guest sees other bytes then.
 */
export function refuseOtherChains(declared: ReadonlyMap<string, Declared>, named: readonly string[]): void {
  const opened = named.map(realPath);
  for (const [name, { target, guest, backing, chainEnds }] of declared) {
    const missing = backing.find((b) => !opened.includes(realPath(b.path)));
    const cut = chainEnds && backing.length === 0 && declared.size === 1 && opened.length > 0;
    if (!missing && !cut) continue;
    const says = missing ? `libvirt puts ${printable(missing.path)} below it` : "libvirt puts nothing below it";
    throw new StorageError(
      "unsupported",
      `disk ${printable(target)} of the guest ${printable(guest)}: ${says}, but ${printable(name)} itself says otherwise`,
      {
        layer: "libvirt",
        feature: "backingStore",
        hint: "make both say the same: qemu-img rebase -u, or take <backingStore> out of the guest's XML",
      },
    );
  }
}

export interface NamedDisk {
  /** Path, or URI of an NBD export. */
  readonly name: string;
  readonly declared: Declared;
}

/** The disks proper of a guest; drives for media are left out, and so is what it would start without. */
export async function disksOf(guest: Guest, options: SourceOptions): Promise<NamedDisk[]> {
  const found: NamedDisk[] = [];
  for (const disk of guest.domain.disks) {
    if (disk.device !== "disk" && disk.device !== "lun") continue;
    if (options.guestDisks && !options.guestDisks.includes(disk.target)) continue;
    const what = `disk ${printable(disk.target)} of the guest ${printable(guest.name)}`;
    const place = await pathOf(disk.place, guest, options);
    if (place.kind === "empty") continue;
    if (disk.optional && place.kind === "file" && !existsSync(place.path)) {
      options.note?.(`${what} is not there: ${printable(place.path)}; the guest starts without it`);
      continue;
    }
    if (place.kind === "file" || place.kind === "block") refuseAbsent(place, what, guest);
    found.push({ name: nameOf(place, what, options), declared: await declaredOf(disk, guest, what, options) });
  }
  if (found.length > 0) return found;
  throw new StorageError("unsupported", `the guest ${printable(guest.name)} has no disks`, {
    layer: "libvirt",
    feature: "a guest without disks",
    hint: `virsh domblklist ${guest.uuid} shows its drives`,
  });
}

/** In the guest's words: what is missing is often a volume that is not open, or a pool that is not mounted. */
function refuseAbsent({ kind, path }: DiskPlace & { readonly path: string }, what: string, guest: Guest): void {
  const stat = attempt(() => statSync(path));
  if (stat === null) {
    throw new StorageError("io", `${what} is not there: ${printable(path)}`, {
      layer: "file",
      hint:
        kind === "block"
          ? `the volume that it is may not be open or active: unterbau unlock vm:${printable(guest.name)} opens what the guest lies on`
          : `what it lies on may not be mounted: unterbau unlock vm:${printable(guest.name)} opens and mounts it`,
    });
  }
  if (stat.isDirectory()) throw unsupported(`${what} is a folder: ${printable(path)}`, "a folder as a disk");
}

function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Without the right to look, opening it says so.
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw ioError(error, "cannot look at a disk", { layer: "file" });
  }
}

async function declaredOf(disk: DomainDisk, guest: Guest, what: string, options: SourceOptions): Promise<Declared> {
  if (disk.refused !== null) throw unsupported(`${what}: ${disk.refused}`, "the disk's layout");
  if (disk.encryption !== null && disk.encryption.format !== "luks")
    throw unsupported(`${what} has encryption of the kind ${printable(disk.encryption.format)}`, "encryption");
  const backing: { path: string; format: "raw" | ImageFormat }[] = [];
  for (const image of disk.backing) {
    const place = await pathOf(image.place, guest, options);
    if (place.kind !== "file" && place.kind !== "block")
      throw unsupported(`${what} rests on ${printable(describePlace(place))}`, "backing image");
    backing.push({ path: resolve(place.path), format: imageFormat(image.format, what) });
  }
  return {
    guest: guest.name,
    target: disk.target,
    format: imageFormat(disk.format, what),
    readOnly: disk.readOnly,
    backing,
    chainEnds: disk.chainEnds,
  };
}

function imageFormat(name: string, what: string): "raw" | ImageFormat {
  const format = name === "vpc" ? "vhd" : name;
  if (format === "raw" || IMAGE_FORMATS.some((f) => f === format)) return format as "raw" | ImageFormat;
  throw unsupported(`${what} has the format ${printable(name)}`, `image format ${name}`);
}

/** A volume of a pool becomes the path that libvirt has for it. */
export async function pathOf(
  place: DiskPlace,
  guest: Pick<Guest, "uri">,
  { signal }: { signal?: AbortSignal | undefined },
): Promise<DiskPlace> {
  if (place.kind !== "volume") return place;
  const args = ["vol-path", `--pool=${place.pool}`, `--vol=${place.volume}`];
  const answer = await virsh(args, { uri: guest.uri, readOnly: true, signal }).catch((error: unknown) => {
    throw inPool(error, place.pool);
  });
  const path = answer.replace(/\n+$/, "");
  return path.startsWith("/")
    ? { kind: "file", path }
    : { kind: "other", what: `a volume that is no file (${printable(path)})` };
}

function inPool(error: unknown, pool: string): unknown {
  if (!(error instanceof StorageError) || error.code !== "io" || error.hint !== undefined) return error;
  return new StorageError("io", error.message, {
    layer: "libvirt",
    hint: `the pool ${printable(pool)} has to be there and be started: virsh pool-list --all`,
    cause: error,
  });
}

function nameOf(place: DiskPlace, what: string, options: SourceOptions): string {
  switch (place.kind) {
    case "file":
    case "block":
      return place.path;
    case "nbd":
      return exportOf(place, what, options);
    default:
      throw unsupported(
        `${what} is ${printable(describePlace(place))}`,
        "network disk",
        "name the other disks by their files, or let QEMU serve this one: qemu-nbd -r -t -k SOCKET …",
      );
  }
}

/** Whoever serves an export does not tell who else writes to it. */
function exportOf(place: DiskPlace & { readonly kind: "nbd" }, what: string, options: SourceOptions): string {
  if (place.socket === null) {
    throw unsupported(
      `${what} is NBD over a network (${printable(place.host ?? "?")})`,
      "nbd:",
      "have the socket forwarded: ssh -N -L /tmp/disk.sock:localhost:10809 HOST, then name nbd+unix:///EXPORT?socket=/tmp/disk.sock",
    );
  }
  if (!options.iKnow) {
    throw new StorageError(
      "locked",
      `${what} is an NBD export, which cannot be locked: somebody else may be writing to it`,
      {
        layer: "nbd",
        hint: "when nobody does, say so: --i-know",
      },
    );
  }
  return nbdUri(place.name, place.socket);
}

function unsupported(message: string, feature: string, hint?: string): StorageError {
  return new StorageError("unsupported", message, { layer: "libvirt", feature, hint });
}
