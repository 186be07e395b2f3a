import { readdirSync, readFileSync } from "node:fs";
import { parseMountinfo } from "../host/mount-table.ts";
import { type HostDevice, restsOn } from "../host/rests-on.ts";
import type { RetiredTarget } from "../host/retirement-store.ts";

/** What only the firmware of an SSD can do. It hits the whole device, so it is said together with all that lies there, and never done. */
export function adviceFor(targets: readonly RetiredTarget[]): string[] {
  const advice = new Set<string>();
  for (const { medium, path } of targets) {
    if (medium.type === "hdd") continue;
    for (const { name, rotational } of medium.devices) {
      if (rotational !== false) continue;
      const others = onDevice(name);
      const there = others.length === 0 ? "nothing else of this host is on it" : `on it are: ${others.join(", ")}`;
      const when = medium.whole
        ? `${path} is a whole SSD: only its firmware reaches all cells`
        : `when ${name} is free as a whole, its firmware reaches all cells`;
      advice.add(`${when}: ${sanitizeCommand(name)}; ${there}`);
    }
  }
  return [...advice];
}

/** nvme-sanitize(1), hdparm(8), sg_sanitize(8). */
export function sanitizeCommand(device: string): string {
  if (/^nvme\d+n\d+$/.test(device))
    return `nvme sanitize /dev/${device.replace(/n\d+$/, "")} --sanact=2, and nvme sanitize-log to see its end`;
  if (/^sd[a-z]+$/.test(device))
    return `hdparm --yes-i-know-what-i-am-doing --sanitize-block-erase /dev/${device} (SAS: sg_sanitize --block)`;
  return `the vendor's own tool for /dev/${device}`;
}

/** Block devices that lie on a disk, with their mount points. */
function onDevice(disk: string): string[] {
  const mounts = parseMountinfo(attempt(() => readFileSync("/proc/self/mountinfo", "utf8")) ?? "");
  return (attempt(() => readdirSync("/sys/class/block")) ?? []).sort().flatMap((name) => {
    if (name === disk) return mountsOf(`/dev/${name}`, name, mounts);
    const device = attempt(() => restsOn(`/dev/${name}`));
    return device !== null && includes(device, disk) ? mountsOf(device.path, name, mounts, true) : [];
  });
}

function mountsOf(path: string, name: string, mounts: ReturnType<typeof parseMountinfo>, always = false): string[] {
  const where = mounts.filter((m) => m.source === path || m.source === `/dev/${name}`).map((m) => m.where);
  return where.length > 0 ? [`${path} (${where[0]})`] : always ? [path] : [];
}

function includes(device: HostDevice, disk: string): boolean {
  return device.below.some((d) => d.name === disk || includes(d, disk));
}

function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
