import { readdirSync, readlinkSync } from "node:fs";
import { blockDeviceInUse } from "./block-device.ts";
import { describeHolders } from "./culprit.ts";

/** Who uses a block device: mounts, swap, other devices, then processes; empty when nobody can be seen. */
export function deviceUsers(device: string): string[] {
  try {
    const host = blockDeviceInUse(device);
    return [...(host === null ? [] : [host]), ...describeHolders(device)];
  } catch {
    return [];
  }
}

/** Processes that have a file below `folder` open, or stand in it: `bash (pid 4711)`. */
export function folderUsers(folder: string): string[] {
  const below = (path: string | null) => path !== null && (path === folder || path.startsWith(`${folder}/`));
  return listed("/proc")
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .filter((pid) => {
      const links = [
        `/proc/${pid}/cwd`,
        `/proc/${pid}/root`,
        ...listed(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`),
      ];
      return links.some((link) => below(target(link)));
    })
    .map((pid) => `${target(`/proc/${pid}/exe`)?.split("/").pop() ?? "a process"} (pid ${pid})`);
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function target(link: string): string | null {
  try {
    return readlinkSync(link);
  } catch {
    return null;
  }
}
