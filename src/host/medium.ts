import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type MountedNow, parseMountinfo } from "./mount-table.ts";
import { type HostDevice, type KernelFiles, restsOn } from "./rests-on.ts";

/** A disk of this host, as the kernel tells of it (Documentation/ABI/stable/sysfs-block). */
export interface MediumDevice {
  readonly name: string;
  /** Null: the kernel does not say, or cannot know. */
  readonly rotational: boolean | null;
  readonly model: string | null;
  readonly serial: string | null;
  readonly wwid: string | null;
}

/** What bytes of a file or device come to rest on. */
export interface Medium {
  /** hdd: every disk below turns, as the kernel says. ssd: at least one does not. unknown: that of one is not known; it is treated as an SSD. */
  readonly type: "hdd" | "ssd" | "unknown";
  readonly devices: readonly MediumDevice[];
  /** A disk as a whole, no part of one. */
  readonly whole: boolean;
  /** Why it is not certain that a byte is overwritten where it lies. */
  readonly doubts: readonly string[];
}

const KERNEL: KernelFiles = { sys: "/sys", mountinfo: "/proc/self/mountinfo" };
/** These write a block of a file where it is (with journalled data once more: asked for below). */
const IN_PLACE = /^(ext2|ext3|ext4|vfat|exfat)$/;
/** Layers that keep every block where it is. */
const PLAIN = /^(lvm|crypt|partition|loop|disk|multipath|raid|linear)/;

/** Throws as statSync does when the path is not there. */
export function mediumOf(path: string, kernel: KernelFiles = KERNEL): Medium {
  const real = realpathSync(path);
  const device = restsOn(real, kernel);
  const block = statSync(real).isBlockDevice();
  const mounts = parseMountinfo(attempt(() => readFileSync(kernel.mountinfo, "utf8")) ?? "");
  const doubts = new Set<string>();
  if (!block) addFile(real, mounts, doubts);
  addDevices(device, mounts, doubts);
  const devices = [...new Map(leaves(device).map((leaf) => [leaf.name, leaf])).values()].map((leaf) =>
    mediumDevice(leaf, kernel.sys),
  );
  const known = devices.length > 0 && devices.every((d) => d.rotational !== null);
  const type = devices.some((d) => d.rotational === false) ? "ssd" : known ? "hdd" : "unknown";
  return { type, devices, whole: block && device.kind === "disk", doubts: [...doubts] };
}

function leaves(device: HostDevice): HostDevice[] {
  return device.below.length === 0 ? [device] : device.below.flatMap(leaves);
}

function addDevices(device: HostDevice, mounts: readonly MountedNow[], doubts: Set<string>): void {
  const { kind, name, path, below } = device;
  if (kind === "loop") addFile(path, mounts, doubts);
  else if (kind === "filesystem") doubts.add(`${path} may write changed blocks elsewhere`);
  else if (!PLAIN.test(kind)) doubts.add(`it is not known where ${path} (${kind} ${name}) puts a changed block`);
  for (const under of below) addDevices(under, mounts, doubts);
}

function addFile(path: string, mounts: readonly MountedNow[], doubts: Set<string>): void {
  const mount = mountOf(path, mounts);
  if (mount === null) doubts.add(`the file system of ${path} is not known`);
  else if (/^(btrfs|zfs|bcachefs|nilfs2|f2fs|overlay)$/.test(mount.type))
    doubts.add(
      `${mount.where} is ${mount.type}, which writes changed blocks elsewhere and keeps the old ones for a time`,
    );
  else if (mount.type === "xfs") doubts.add(`${mount.where} is xfs, where other files may share blocks (reflink)`);
  else if (!IN_PLACE.test(mount.type))
    doubts.add(`it is not known where ${mount.type} on ${mount.where} puts a changed block`);
  else if (mount.options.includes("data=journal"))
    doubts.add(`${mount.where} is mounted with data=journal: its journal has copies of what was written`);
}

/** The mount that a path is in; later lines cover earlier ones. */
function mountOf(path: string, mounts: readonly MountedNow[]): MountedNow | null {
  let found: MountedNow | null = null;
  for (const mount of mounts) {
    const inside = mount.where === "/" || path === mount.where || path.startsWith(`${mount.where}/`);
    if (inside && (found === null || mount.where.length >= found.where.length)) found = mount;
  }
  return found;
}

function mediumDevice({ name, kind }: HostDevice, sys: string): MediumDevice {
  const nothing = { name, rotational: null, model: null, serial: null, wwid: null };
  if (kind !== "disk") return nothing;
  const folder = attempt(() => realpathSync(`${sys}/class/block/${name.replaceAll("/", "!")}`));
  if (folder === null) return nothing;
  const read = (...files: string[]): string | null => {
    for (const file of files) {
      const text = attempt(() => readFileSync(file, "utf8").trim());
      if (text) return text;
    }
    return null;
  };
  const turns = read(`${folder}/queue/rotational`, `${dirname(folder)}/queue/rotational`);
  const model = read(`${folder}/device/model`);
  const serial =
    read(`${folder}/serial`, `${folder}/device/serial`) ??
    // SPC-5, 7.7.17: four bytes of header.
    read(`${folder}/device/vpd_pg80`)?.slice(4);
  const guessed = turns === "1" && isGuessed(name, model, folder, sys);
  return {
    name,
    rotational: turns === null || guessed ? null : turns === "1",
    model,
    serial: serial?.replace(/[^ -~]/g, "").trim() || null,
    wwid: read(`${folder}/wwid`, `${folder}/device/wwid`),
  };
}

/**
 * Whether that it turns is only what the kernel takes for granted of a disk that says nothing of itself: one of a virtual machine, one behind a
 * USB bridge, one whose medium rotation rate is not reported (SBC-4, 6.6.2: 0).
 */
function isGuessed(name: string, model: string | null, folder: string, sys: string): boolean {
  if (/^(vd|xvd)[a-z]/.test(name) || /\b(QEMU|VBOX|VMware)\b|virtual/i.test(model ?? "")) return true;
  if (/\/usb\d+\//.test(folder.slice(sys.length))) return true;
  const rate = attempt(() => readFileSync(`${folder}/device/vpd_pgb1`));
  return rate !== null && rate.length >= 6 && rate.readUInt16BE(4) === 0;
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
