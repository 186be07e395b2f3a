import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename } from "node:path";

/** A device of this host and what it lies on, down to what is no longer made of others. */
export interface HostDevice {
  /** The kernel's name (`dm-3`, `md0`, `sda1`), or that of what is no device (`tmpfs`, `nfs4`). */
  readonly name: string;
  /** `crypt`, `lvm`, `raid1`, `partition`, `loop`, `disk`, `multipath`, `memory`, `network`, `dm`, `unknown`. */
  readonly kind: string;
  /** For a person: `/dev/mapper/vg0-web`, `/dev/sda1`. */
  readonly path: string;
  readonly below: readonly HostDevice[];
}

/** Where the kernel tells of devices; another root for tests. */
export interface KernelFiles {
  readonly sys: string;
  readonly mountinfo: string;
}

const KERNEL: KernelFiles = { sys: "/sys", mountinfo: "/proc/self/mountinfo" };
/** More layers than a host has; ends loops. */
const MAX_DEPTH = 32;
const NETWORK = /^(nfs|cifs|smb|ceph|9p|glusterfs|fuse\.(sshfs|glusterfs|ceph)|ocfs2|gfs2)/;

/** What a file or block device rests on. Throws as statSync does when it is not there. */
export function restsOn(path: string, kernel: KernelFiles = KERNEL): HostDevice {
  const stat = statSync(path);
  return stat.isBlockDevice()
    ? deviceOf(numberOf(stat.rdev), kernel, 0)
    : fileSystemOf(numberOf(stat.dev), path, kernel, 0);
}

/** True when no byte of it comes to rest outside dm-crypt, whichever of the devices below holds it. */
export function isEncrypted(device: HostDevice): boolean {
  return device.kind === "crypt" || (device.below.length > 0 && device.below.every(isEncrypted));
}

/** The device `MAJOR:MINOR`. */
export function deviceOf(number: string, kernel: KernelFiles, depth: number): HostDevice {
  const folder = attempt(() => realpathSync(`${kernel.sys}/dev/block/${number}`));
  if (folder === null || depth > MAX_DEPTH) return { name: number, kind: "unknown", path: number, below: [] };
  const name = basename(folder);
  const read = (file: string) => attempt(() => readFileSync(`${folder}/${file}`, "utf8").trim()) || null;
  const below = (numbers: readonly string[]) => numbers.map((n) => deviceOf(n, kernel, depth + 1));
  if (read("partition") !== null) {
    const disk = attempt(() => readFileSync(`${folder}/../dev`, "utf8").trim());
    return { name, kind: "partition", path: `/dev/${name}`, below: below(disk ? [disk] : []) };
  }
  const slaves = (attempt(() => readdirSync(`${folder}/slaves`)) ?? [])
    .sort()
    .flatMap((s) => attempt(() => readFileSync(`${folder}/slaves/${s}/dev`, "utf8").trim()) ?? []);
  const dmName = read("dm/name");
  if (dmName !== null)
    return { name, kind: kindOfMapped(read("dm/uuid") ?? ""), path: `/dev/mapper/${dmName}`, below: below(slaves) };
  const level = read("md/level");
  if (level !== null)
    return {
      name,
      kind: level.startsWith("raid") ? level : `raid ${level}`,
      path: `/dev/${name}`,
      below: below(slaves),
    };
  const file = read("loop/backing_file");
  if (file !== null) {
    const under = attempt(() => statSync(file));
    return {
      name,
      kind: "loop",
      path: file,
      below: under ? [fileSystemOf(numberOf(under.dev), file, kernel, depth + 1)] : [],
    };
  }
  // RAM that may be swapped out, or is compressed RAM itself.
  if (name.startsWith("zram")) return { name, kind: "memory", path: `/dev/${name}`, below: [] };
  if (name.startsWith("nbd") || name.startsWith("rbd") || name.startsWith("drbd"))
    return { name, kind: "network", path: `/dev/${name}`, below: below(slaves) };
  return { name, kind: "disk", path: `/dev/${name}`, below: below(slaves) };
}

/** Device mapper's UUID begins with who made the device (libdevmapper.h, DM_UUID prefixes; cryptsetup's and LVM's own). */
function kindOfMapped(uuid: string): string {
  // These keep sums of the data and leave it readable.
  if (/^CRYPT-(VERITY|INTEGRITY)-/.test(uuid)) return "dm";
  if (uuid.startsWith("CRYPT-")) return "crypt";
  if (uuid.startsWith("LVM-")) return "lvm";
  if (uuid.startsWith("mpath-")) return "multipath";
  return /^part\d+-/.test(uuid) ? "partition" : "dm";
}

/** The device of the file system that a file lies in. Some (Btrfs, ZFS, overlay) have a number of their own: their mount names the device. */
function fileSystemOf(number: string, path: string, kernel: KernelFiles, depth: number): HostDevice {
  if (attempt(() => statSync(`${kernel.sys}/dev/block/${number}`)) !== null) return deviceOf(number, kernel, depth);
  const mount = mountWith(number, kernel) ?? { type: "unknown", source: path };
  const { type, source } = mount;
  if (type === "btrfs") {
    const all = devicesOfBtrfs(source, kernel);
    if (all.length > 0)
      return { name: type, kind: "filesystem", path: source, below: all.map((n) => deviceOf(n, kernel, depth + 1)) };
  }
  const kind = /^(tmpfs|ramfs|devtmpfs)$/.test(type) ? "memory" : NETWORK.test(type) ? "network" : "unknown";
  return { name: type, kind, path: kind === "memory" ? type : source, below: [] };
}

/** A Btrfs over several devices is mounted by one of them; sysfs lists them all. */
function devicesOfBtrfs(source: string, kernel: KernelFiles): string[] {
  const own = attempt(() => numberOf(statSync(source).rdev));
  for (const id of attempt(() => readdirSync(`${kernel.sys}/fs/btrfs`)) ?? []) {
    const folder = `${kernel.sys}/fs/btrfs/${id}/devices`;
    const numbers = (attempt(() => readdirSync(folder)) ?? []).flatMap(
      (name) => attempt(() => readFileSync(`${folder}/${name}/dev`, "utf8").trim()) ?? [],
    );
    if (own !== null && numbers.includes(own)) return numbers;
  }
  return [];
}

/** proc_pid_mountinfo(5): field 3 is the number, after ` - ` come type and source. */
function mountWith(number: string, kernel: KernelFiles): { type: string; source: string } | null {
  for (const line of (attempt(() => readFileSync(kernel.mountinfo, "utf8")) ?? "").split("\n")) {
    if (line.split(" ")[2] !== number) continue;
    const [type = "unknown", source = "?"] = line.slice(line.indexOf(" - ") + 3).split(" ");
    return { type, source };
  }
  return null;
}

/** `MAJOR:MINOR`: the C library's gnu_dev_major and gnu_dev_minor for numbers below 2^32. */
export function numberOf(dev: number): string {
  return `${Math.floor(dev / 256) % 4096}:${(dev % 256) + Math.floor(dev / 2 ** 20) * 256}`;
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
