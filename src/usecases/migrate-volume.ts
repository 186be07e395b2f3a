import { existsSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { mappedUuidOf } from "../host/kernel-state.ts";
import type { MigrationVolume } from "../host/migration-store.ts";
import {
  createVolume,
  findVolume,
  type NewVolume,
  removeVolume,
  type VolumeGroup,
  volumeGroups,
} from "../tools/lvm.ts";

/** Names of groups and volumes (lvm(8), "Valid names"): no path, no option, nothing that LVM uses for itself. */
const NAME = /^(?!-)(?!\.{1,2}$)[\w+.-]{1,127}$/;
const RESERVED =
  /^(snapshot|pvmove)|_(cdata|cmeta|corig|cpool|cvol|imeta|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig)/;

/** What `--to` names: `VG`, `VG/LV`, both with `/dev/` before it. */
export function parseGroup(to: string): { readonly group: string; readonly name: string | null } {
  const [group = "", name = null, ...more] = to.replace(/^\/dev\//, "").split("/");
  if (more.length === 0 && NAME.test(group) && (name === null || isVolumeName(name))) return { group, name };
  throw new StorageError("usage", `${printable(to)} names no volume group or volume that could be made`, {
    layer: "lvm",
    hint: "--to GROUP, or --to GROUP/VOLUME (vgs lists the groups)",
  });
}

export function isVolumeName(name: string): boolean {
  return NAME.test(name) && !RESERVED.test(name);
}

/** The group in which volumes can be made. Throws `usage` for none, several of the name, or one that LVM would not write to. */
export async function usableGroup(name: string): Promise<VolumeGroup> {
  const [group, ...others] = await volumeGroups(name);
  const no = (what: string, hint: string) => new StorageError("usage", what, { layer: "lvm", hint });
  if (group === undefined) throw no(`there is no volume group ${name}`, "vgs lists those of this host");
  if (others.length > 0)
    throw no(
      `there are ${others.length + 1} volume groups called ${name}`,
      "give one another name: vgrename UUID NAME",
    );
  if (group.unusable === null) return group;
  throw no(
    `nothing is made in the volume group ${name}: ${printable(group.unusable)}`,
    `vgs --foreign ${name} shows it`,
  );
}

/** The tag by which a migration's volumes are known. */
export function asNew(volume: MigrationVolume, run: string): NewVolume {
  return { ...volume, tag: `unterbau.${run}` };
}

/** Makes the volume, where the group is still the one that was looked at; its UUID as LVM writes it. */
export async function makeVolume(volume: MigrationVolume, run: string): Promise<string> {
  const group = await usableGroup(volume.group);
  if (group.uuid !== volume.groupUuid)
    throw new StorageError("io", `the volume group ${volume.group} is another one than before`, { layer: "lvm" });
  await createVolume(asNew(volume, run));
  const made = await findVolume(asNew(volume, run), undefined);
  if (made !== null) return made.uuid;
  throw new StorageError("io", `lvcreate made no volume ${volume.group}/${volume.name}`, { layer: "lvm" });
}

/** Removes the migration's volume and no other; it may have got another name since. */
export function unmakeVolume(volume: MigrationVolume, run: string, uuid: string | undefined): Promise<void> {
  return removeVolume(asNew(volume, run), uuid);
}

/**
 * Looks whether a path leads to the migration's volume: by the UUID that LVM gave it, and device-mapper's of the device. False: the volume
 * is not there any more. Throws `io` when it is there and the path leads elsewhere, or nowhere.
 */
export async function isVolumeAt(
  path: string,
  volume: MigrationVolume,
  run: string,
  uuid: string | undefined,
): Promise<boolean> {
  const found = await findVolume(asNew(volume, run), uuid);
  if (found === null) return false;
  if (mappedUuidOf(path) === `LVM-${`${volume.groupUuid}${found.uuid}`.replaceAll("-", "")}`) return true;
  const name = `${found.group}/${found.name}`;
  const [what, hint] = existsSync(path)
    ? [`${path} is another device than the volume ${name}`, "look at it with lvs and ls -l; give it its name again"]
    : [`${path} is not there, although the volume ${name} is`, `lvchange --activate y ${name}, then repeat`];
  throw new StorageError("io", printable(what), { layer: "lvm", hint });
}
