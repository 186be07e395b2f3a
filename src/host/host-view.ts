import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type CryptEntry, parseCrypttab, readTable } from "./crypttab.ts";
import { knownGroups } from "./lvm-groups.ts";
import { type DeclaredMount, declaredMounts, type MountedNow, parseMountinfo } from "./mount-table.ts";
import { type HostDevice, restsOn } from "./rests-on.ts";

/** What this host has and what it declares, as far as guests' disks go. Tests give another one. */
export interface HostView {
  readonly crypttab: readonly CryptEntry[];
  readonly declared: readonly DeclaredMount[];
  readonly mounted: readonly MountedNow[];
  /** Volume groups with the paths on which their physical volumes were. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
  /** What a path rests on; null when it is not there. */
  device(path: string): HostDevice | null;
  /** Device mapper's UUID of an open mapping, null when it is not open. */
  mappedUuid(name: string): string | null;
  /** The path with its symbolic links followed, as far as it is there. */
  real(path: string): string;
}

/** `root`: where the tables are, for another tree than `/`. */
export function thisHost(root = "/"): HostView {
  return {
    crypttab: parseCrypttab(readTable(join(root, "etc/crypttab"))),
    declared: declaredMounts(root),
    mounted: parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8")),
    groups: knownGroups(join(root, "etc/lvm/backup")),
    device: (path) => (existsSync(path) ? restsOn(path) : null),
    mappedUuid,
    real: realPrefix,
  };
}

function mappedUuid(name: string): string | null {
  for (const dm of readdirSync("/sys/block").filter((n) => n.startsWith("dm-"))) {
    try {
      const read = (file: string) => readFileSync(`/sys/block/${dm}/dm/${file}`, "utf8").trim();
      if (read("name") === name) return read("uuid");
    } catch {
      // It went away meanwhile.
    }
  }
  return null;
}

/** As realpath(3) for what is there; a link that leads to nothing yet is followed, too. */
function realPrefix(path: string, depth = 0): string {
  try {
    return realpathSync(path);
  } catch {
    const folder = dirname(path);
    if (folder === path || depth > 40) return path;
    const own = join(realPrefix(folder, depth), path.slice(folder.length));
    try {
      if (lstatSync(own).isSymbolicLink()) return realPrefix(resolve(dirname(own), readlinkSync(own)), depth + 1);
    } catch {
      // Not there.
    }
    return own;
  }
}

/** Device-mapper names that the running system itself stands on: they cannot be closed. */
export function systemMappings(view: Pick<HostView, "device">): Set<string> {
  const names = new Set<string>();
  const add = (device: HostDevice | null): void => {
    if (device === null) return;
    if (device.path.startsWith("/dev/mapper/")) names.add(device.path.slice("/dev/mapper/".length));
    for (const below of device.below) add(below);
  };
  for (const path of ["/", "/usr", "/etc", "/var", "/boot", "/home", "/root", ...swaps()]) add(view.device(path));
  return names;
}

function swaps(): string[] {
  try {
    const lines = readFileSync("/proc/swaps", "utf8").split("\n").slice(1);
    return lines.flatMap((l) => l.split(/\s/)[0] || []).filter((p) => statSync(p, { throwIfNoEntry: false }));
  } catch {
    return [];
  }
}
