import { readdirSync, readFileSync, statSync } from "node:fs";

/** A process that has a file open. */
export interface Holder {
  readonly pid: number;
  /** The command's name as the kernel keeps it (15 bytes). */
  readonly command: string;
  /** The guest's name of a QEMU started by libvirt or with `-name`, else null. */
  readonly guest: string | null;
}

/**
 * Who has `path` open, ourselves excepted. Only processes whose descriptors we may read are seen (root: all);
 * an empty answer therefore proves nothing.
 */
export function findHolders(path: string): Holder[] {
  const target = attempt(() => statSync(path, { bigint: true }));
  if (!target) return [];
  const holders: Holder[] = [];
  for (const entry of attempt(() => readdirSync("/proc")) ?? []) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const opened = (attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []).some((fd) => {
      const stat = attempt(() => statSync(`/proc/${pid}/fd/${fd}`, { bigint: true }));
      if (!stat) return false;
      // A block device can be reached through several nodes; a file is its inode.
      return target.isBlockDevice()
        ? stat.isBlockDevice() && stat.rdev === target.rdev
        : stat.dev === target.dev && stat.ino === target.ino;
    });
    if (!opened) continue;
    const command = attempt(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()) ?? "?";
    const argv = (attempt(() => readFileSync(`/proc/${pid}/cmdline`, "latin1")) ?? "").split("\0");
    holders.push({ pid, command, guest: guestName(argv) });
  }
  return holders;
}

/** `qemu-system-x86 (pid 4711, guest web1)`, one per process. */
export function describeHolders(path: string): string[] {
  return findHolders(path).map(
    ({ pid, command, guest }) => `${command} (pid ${pid}${guest === null ? "" : `, guest ${guest}`})`,
  );
}

/** QEMU's `-name guest=NAME,…` or `-name NAME`; a comma in a name is doubled. */
export function guestName(argv: readonly string[]): string | null {
  const at = argv.findIndex((a) => a === "-name" || a === "--name");
  const value = at < 0 ? undefined : argv[at + 1];
  if (value === undefined) return null;
  const options = value.split(/(?<!,),(?!,)/).map((o) => o.replaceAll(",,", ","));
  const named = options.find((o) => o.startsWith("guest="));
  return named ? named.slice("guest=".length) : options[0]!.includes("=") ? null : options[0]!;
}

/** Processes come and go, and others are not ours to look at: what cannot be read is not there. */
function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
