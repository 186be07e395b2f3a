import { shortPrintable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";

/** lvm2, lib/misc/lvm-string.c (validate_name): what LVM itself allows. */
const LVM_NAME = /^[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}$/;
const LVM_UUID = /^[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const CONTROL = /\p{Cc}/u;

function refuse(what: string, text: string, feature: string): StorageError {
  return new StorageError("unsupported", `${what} is called “${shortPrintable(text)}”`, {
    layer: "plan",
    feature,
    hint: "the kernel and its tools take no such name; check, exec and export work without them",
  });
}

/** The name of a group or volume, which a guest chose, or `unsupported`. */
export function lvmName(name: string): string {
  if (LVM_NAME.test(name) && name !== "." && name !== "..") return name;
  throw refuse("a volume or group", name, "names that LVM refuses");
}

export function lvmUuid(uuid: string): string {
  if (LVM_UUID.test(uuid)) return uuid;
  throw refuse("the UUID of a group or physical volume", uuid, "UUIDs that are none");
}

/** A UUID as blkid writes it. */
export function plainUuid(uuid: string): string {
  if (UUID.test(uuid)) return uuid;
  throw refuse("the UUID of a layer", uuid, "UUIDs that are none");
}

/** A UUID as mdadm writes it. */
export function arrayUuid(uuid: string): string {
  if (/^[0-9a-f]{8}(:[0-9a-f]{8}){3}$/i.test(uuid)) return uuid;
  throw refuse("the UUID of an array", uuid, "UUIDs that are none");
}

/** A path for a command line: any characters but control characters, which no report and no sysfs file shows unchanged. */
export function plainPath(path: string): string {
  if (!CONTROL.test(path)) return path;
  throw refuse("a file", path, "control characters in a path");
}

/** Device mapper's name of a group or volume: hyphens are doubled (libdm/libdm-string.c, dm_build_dm_name). */
export function mapperName(name: string): string {
  return name.replaceAll("-", "--");
}

/** Whether a device-mapper name is one of a volume in this group: after the group's name follows one hyphen. */
export function isVolumeOf(mapped: string, group: string): boolean {
  const prefix = `${mapperName(group)}-`;
  return mapped.startsWith(prefix) && mapped[prefix.length] !== "-";
}
