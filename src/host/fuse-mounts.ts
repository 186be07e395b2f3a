import { readFileSync, statfsSync } from "node:fs";
import { isAlive, type Owner, thisProcess } from "./owner.ts";

/**
 * The kernel's own table of mounts is all that is kept of ours: the source of each names the process that serves it. It cannot be out of
 * date, and a reboot forgets it.
 */
export interface FuseMount {
  /** The mount point, as the kernel knows it. */
  readonly folder: string;
  readonly owner: Owner;
  /** The user who mounted it. */
  readonly uid: number;
}

const NAME = /^unterbau:(\d+)\.(\d+)$/;

/** The name by which a mount of this process is found again. */
export function mountName(): string {
  const { pid, startTime } = thisProcess();
  return `unterbau:${pid}.${startTime}`;
}

/** Folders that this user's and other users' processes of ours have mounted, the last first. `table`: proc_pid_mountinfo(5). */
export function fuseMounts(table: string = readFileSync("/proc/self/mountinfo", "utf8")): FuseMount[] {
  const { bootId } = thisProcess();
  const found = table.split("\n").flatMap((line): FuseMount[] => {
    const [first = "", second = ""] = line.split(" - ");
    const [type = "", source = "", options = ""] = second.split(" ");
    const match = NAME.exec(source);
    if (match === null || !type.startsWith("fuse")) return [];
    const folder = (first.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const uid = Number(/(?:^|,)user_id=(\d+)/.exec(options)?.[1] ?? -1);
    return [{ folder, owner: { pid: Number(match[1]), startTime: match[2]!, bootId }, uid }];
  });
  return found.reverse();
}

/** Nobody serves it: its process is gone, and whoever looks into it is told that it is not connected. */
export function isStale({ folder, owner }: FuseMount): boolean {
  if (isAlive(owner)) return false;
  try {
    // What the kernel keeps of a folder it tells without asking anybody; this it asks for.
    statfsSync(folder);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOTCONN";
  }
}

/** This user may unmount it (fusermount3 asks the same). */
export function mayUnmount({ uid }: FuseMount): boolean {
  const self = process.getuid?.();
  return self === 0 || self === uid;
}
