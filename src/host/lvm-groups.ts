import { readdirSync } from "node:fs";
import { join } from "node:path";
import { readTable } from "./crypttab.ts";

/**
 * Volume groups of this host with the devices that their physical volumes were on: LVM notes both at every change (lvm.conf(5), backup).
 * The only thing that tells which encrypted volume a group lies in while it is closed. Needs root.
 */
export function knownGroups(folder: string): Map<string, readonly string[]> {
  const groups = new Map<string, readonly string[]>();
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    return groups;
  }
  for (const name of names) groups.set(name, devicesOfBackup(readTable(join(folder, name))));
  return groups;
}

/** The paths of a backup's physical volumes. */
export function devicesOfBackup(text: string): string[] {
  const start = text.search(/^\s*physical_volumes\s*\{/m);
  if (start < 0) return [];
  const rest = text.slice(start);
  const end = rest.search(/^\s*logical_volumes\s*\{/m);
  const part = end < 0 ? rest : rest.slice(0, end);
  return [...part.matchAll(/^\s*device\s*=\s*"((?:[^"\\]|\\.)*)"/gm)].map((m) => m[1]!.replaceAll(/\\(.)/g, "$1"));
}

/** Group and volume of a device-mapper name: hyphens are doubled, a single one stands between (libdm, dm_build_dm_name). */
export function splitMapperName(name: string): { readonly group: string; readonly volume: string } | null {
  const match = /^((?:[^-]|--)+)-((?:[^-]|--)+)$/.exec(name);
  if (!match) return null;
  return { group: match[1]!.replaceAll("--", "-"), volume: match[2]!.replaceAll("--", "-") };
}
