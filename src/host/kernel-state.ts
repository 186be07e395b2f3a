import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { numberOf } from "./rests-on.ts";

/** Names of all device-mapper devices of this host; sysfs shows them to everyone. */
export function mappedNames(): string[] {
  return mapped("name");
}

/** Their UUIDs: `LVM-` and those of group and volume without hyphens, `CRYPT-…`. */
export function mappedUuids(): string[] {
  return mapped("uuid");
}

/** Device-mapper's UUID of the device that a path leads to; null: it is none of device-mapper's, or not there. */
export function mappedUuidOf(path: string): string | null {
  return attempt(() => readFileSync(`/sys/dev/block/${numberOf(statSync(path).rdev)}/dm/uuid`, "utf8").trim());
}

function mapped(attribute: "name" | "uuid"): string[] {
  return (attempt(() => readdirSync("/sys/block")) ?? [])
    .filter((name) => name.startsWith("dm-"))
    .flatMap((name) => attempt(() => readFileSync(`/sys/block/${name}/dm/${attribute}`, "utf8").trim()) ?? []);
}

/** The file or device that a loop device shows, as the kernel writes its path, and from which byte on; null when it is free. */
export function loopBacking(device: string): { readonly backing: string; readonly offset: number } | null {
  const folder = `${blockFolder(device)}/loop`;
  // The kernel ends the path with a newline; the path itself may end in spaces.
  const backing = attempt(() => readFileSync(`${folder}/backing_file`, "utf8").replace(/\n$/, ""));
  const offset = attempt(() => Number(readFileSync(`${folder}/offset`, "utf8")));
  return backing === null || offset === null ? null : { backing, offset };
}

/** The process that serves an nbd device: its id and arguments; null when nobody does. */
export function nbdServer(device: string): { readonly pid: number; readonly argv: readonly string[] } | null {
  const thread = attempt(() => Number(readFileSync(`${blockFolder(device)}/pid`, "utf8")));
  if (thread === null || !Number.isInteger(thread)) return null;
  const status = attempt(() => readFileSync(`/proc/${thread}/status`, "utf8")) ?? "";
  const pid = Number(/^Tgid:\s*(\d+)$/m.exec(status)?.[1] ?? thread);
  const argv = (attempt(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").split("\0");
  return { pid, argv };
}

/** 512-byte units; 0 for a device that shows nothing. */
export function blockUnits(device: string): number {
  return attempt(() => Number(readFileSync(`${blockFolder(device)}/size`, "utf8"))) ?? 0;
}

/** `/dev/nbd3`: the first that nobody serves. Null: all are taken, or the module is not there. */
export function freeNbd(): string | null {
  const names = (attempt(() => readdirSync("/sys/block")) ?? []).filter((name) => /^nbd\d+$/.test(name));
  names.sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  const free = names.find((name) => !existsSync(`/sys/block/${name}/pid`) && blockUnits(`/dev/${name}`) === 0);
  return free === undefined ? null : `/dev/${free}`;
}

export function isMountPoint(path: string): boolean {
  const escaped = path.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
  const lines = (attempt(() => readFileSync("/proc/self/mountinfo", "utf8")) ?? "").split("\n");
  return lines.some((line) => line.split(" ")[4] === escaped);
}

function blockFolder(device: string): string {
  const real = attempt(() => realpathSync(device)) ?? device;
  return `/sys/block/${real.replace(/^\/dev\//, "").replaceAll("/", "!")}`;
}

/** What is not there, or not any more, is a normal answer. */
function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
