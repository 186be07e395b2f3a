import { existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { MigrationTarget } from "../host/migration-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { tryVolume } from "../tools/lvm.ts";
import { contentOfDevice } from "./device-content.ts";
import type { Guest } from "./guests.ts";
import type { MigrateOptions } from "./migrate.ts";
import { asNew, isVolumeName, parseGroup, usableGroup } from "./migrate-volume.ts";
import { refuseFull } from "./new-luks-target.ts";

/** A disk for which a place is looked for. */
export interface Wanted {
  /** `vda` */
  readonly disk: string;
  /** Bytes of the guest's disk, and of its container with header. */
  readonly size: number;
  readonly needed: number;
}

/** Where a container will be, and how many bytes that place has. */
export interface Placed {
  readonly target: MigrationTarget;
  readonly size: number;
}

/** Where the containers will be, one for each disk. Changes nothing; throws by name what stands in the way. */
export async function targetsFor(
  wanted: readonly Wanted[],
  guest: Guest,
  run: string,
  options: MigrateOptions,
): Promise<Placed[]> {
  const { to, toFile, toDevice } = options;
  if (to !== undefined) return volumesIn(to, wanted, guest, run, options);
  if (toFile !== undefined) return filesAt(placesFor(toFile, wanted, guest, "--to-file"), wanted);
  if (toDevice === undefined) {
    throw new StorageError("usage", "no target is named", {
      hint: "--to GROUP, --to-file PATH or --to-device DEVICE",
    });
  }
  const paths = placesFor(toDevice, wanted, guest, "--to-device");
  const real = paths.map((path) => sourceIdentity(path).realpath);
  refuseTwice(real);
  for (const [i, disk] of wanted.entries()) await refuseDevice(paths[i]!, disk, guest, options);
  return paths.map((path) => ({ target: { kind: "device", path, volume: null }, size: sourceIdentity(path).size }));
}

/** The path of each disk, out of `PATH` for the only one, or `DISK=PATH`. */
function placesFor(named: readonly string[], wanted: readonly Wanted[], guest: Guest, option: string): string[] {
  const usage = wanted.map(({ disk }) => `${option} ${disk}=PATH`).join(" ");
  const no = (what: string) => new StorageError("usage", what, { hint: usage });
  const [only, ...others] = wanted;
  const [first = "", ...more] = named;
  const other = guest.domain.disks.find(
    (d) => !wanted.some((w) => w.disk === d.target) && named.some((text) => text.startsWith(`${d.target}=`)),
  );
  if (other) throw no(`the disk ${printable(other.target)} is not moved`);
  const assigned = named.map((text) => {
    const disk = wanted.find((w) => text.startsWith(`${w.disk}=`))?.disk;
    return disk === undefined ? null : { disk, path: text.slice(disk.length + 1) };
  });
  if (others.length === 0 && more.length === 0) return [resolve(assigned[0]?.path ?? first)];
  const lost = named.find((_, i) => assigned[i] === null);
  if (lost !== undefined) {
    throw no(
      others.length === 0
        ? `only the disk ${only!.disk} is moved, and ${named.length} places are named`
        : `which disk goes to ${printable(lost)}?`,
    );
  }
  const paths = wanted.map(({ disk }) => {
    const [place, again] = assigned.filter((a) => a?.disk === disk);
    if (!place) throw no(`no place is named for the disk ${disk}`);
    if (again) throw no(`two places are named for the disk ${disk}`);
    return resolve(place.path);
  });
  refuseTwice(paths);
  return paths;
}

function refuseTwice(paths: readonly string[]): void {
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice !== undefined)
    throw new StorageError("usage", `${printable(twice)} is named for two disks`, {
      hint: "each needs a place of its own",
    });
}

async function volumesIn(
  to: string,
  wanted: readonly Wanted[],
  guest: Guest,
  run: string,
  { newName }: MigrateOptions,
): Promise<Placed[]> {
  const asked = parseGroup(to);
  const base = asked.name ?? newName ?? `${guest.name}-luks`;
  const group = await usableGroup(asked.group);
  const no = (what: string, hint: string) => new StorageError("usage", what, { layer: "lvm", hint });
  const volumes = wanted.map(({ disk, needed }, i) => ({
    group: group.name,
    groupUuid: group.uuid,
    name: i === 0 ? base : `${base}-${disk}`,
    extents: Math.ceil(needed / group.extentSize),
  }));
  for (const { name } of volumes) {
    if (!isVolumeName(name)) throw no(`${printable(name)} is no name for a volume`, "choose one: --to GROUP/VOLUME");
    if (group.volumes.includes(name) || existsSync(`/dev/${group.name}/${name}`))
      throw no(`there is a volume ${group.name}/${name} already`, "choose another name: --to GROUP/VOLUME");
  }
  const extents = volumes.reduce((sum, v) => sum + v.extents, 0);
  if (extents > group.freeExtents) {
    throw new StorageError(
      "io",
      `the volume group ${group.name} has ${group.freeExtents} free extents of ${group.extentSize} bytes; ${extents} are needed`,
      { layer: "lvm", hint: "make room there (vgextend, lvremove), or name another group" },
    );
  }
  // How volumes may lie in the group (contiguous …) only LVM itself knows.
  for (const volume of volumes) await tryVolume(asNew(volume, run));
  return volumes.map((volume) => ({
    target: { kind: "device", path: `/dev/${volume.group}/${volume.name}`, volume },
    size: volume.extents * group.extentSize,
  }));
}

function filesAt(paths: readonly string[], wanted: readonly Wanted[]): Placed[] {
  // Files of one file system share what is free there.
  const onDevice = new Map<number, number>();
  for (const [i, path] of paths.entries()) {
    if (existsSync(path)) throw new StorageError("usage", `${path} is there already`, { hint: "choose another name" });
    const device = statSync(dirname(path), { throwIfNoEntry: false })?.dev ?? -1;
    const needed = (onDevice.get(device) ?? 0) + wanted[i]!.needed;
    onDevice.set(device, needed);
    refuseFull(path, needed);
  }
  return paths.map((path, i) => ({ target: { kind: "file", path }, size: wanted[i]!.needed }));
}

async function refuseDevice(
  path: string,
  { size, needed }: Wanted,
  guest: Guest,
  { overwrite }: MigrateOptions,
): Promise<void> {
  const identity = sourceIdentity(path);
  if (identity.kind !== "blockdev") {
    throw new StorageError("usage", `${path} is no block device`, { hint: "for a new file: --to-file PATH" });
  }
  const own = guest.domain.disks.flatMap((d) => ("path" in d.place ? [d.place.path] : []));
  if (own.some((p) => existsSync(p) && sourceIdentity(p).realpath === identity.realpath))
    throw new StorageError("usage", `${path} is the guest's own disk`, { hint: "the copy needs a place of its own" });
  if (identity.size < needed) {
    throw new StorageError("usage", `${path} has ${identity.size} bytes; ${needed} are needed`, {
      layer: "file",
      hint: `the guest's disk has ${size}, the header takes ${needed - size}`,
    });
  }
  const what = await contentOfDevice(path);
  if (what !== null && !overwrite) {
    throw new StorageError("usage", `${path} is not empty: it holds ${what}`, {
      hint: "if that may be lost: --overwrite",
    });
  }
}
