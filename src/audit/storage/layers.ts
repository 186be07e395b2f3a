import type { AuditLayer, HostReader } from "../model.ts";
import { type Block, type BlockView, blockView } from "./block.ts";
import { isReal } from "./dm-table.ts";
import { type Mount, mountOf, parseMountinfo } from "./mounts.ts";

/** Deeper than any host's storage; ends loops. */
const MAX_DEPTH = 32;
const NETWORK = /^(nfs4?|cifs|smb3?|ceph|9p|glusterfs|afs|ocfs2|gfs2|fuse\.(sshfs|glusterfs|ceph|s3fs|rclone))$/;
const MEMORY = /^(tmpfs|ramfs|devtmpfs)$/;

/** The host's storage: what paths lie on, down to the disks. */
export interface Storage {
  readonly view: BlockView;
  readonly mounts: readonly Mount[];
  /** What the file, folder or block device rests on. */
  under(path: string): Promise<AuditLayer>;
  /** The same for what may not be there yet: of the nearest folder above it that is. */
  wouldBeUnder(path: string): Promise<AuditLayer>;
  /** The block device that a path means; null: it is none. */
  block(path: string): Promise<Block | null>;
}

export async function storageOf(host: HostReader): Promise<Storage> {
  const [view, mountinfo] = await Promise.all([blockView(host), host.file("/proc/self/mountinfo")]);
  const mounts = mountinfo.kind === "text" ? parseMountinfo(mountinfo.text) : [];
  return new HostStorage(host, view, mounts);
}

class HostStorage implements Storage {
  readonly view: BlockView;
  readonly mounts: readonly Mount[];
  readonly #host: HostReader;

  constructor(host: HostReader, view: BlockView, mounts: readonly Mount[]) {
    this.#host = host;
    this.view = view;
    this.mounts = mounts;
  }

  async under(path: string): Promise<AuditLayer> {
    return this.#under(path, 0);
  }

  async wouldBeUnder(path: string): Promise<AuditLayer> {
    let at = path;
    while (at !== "/" && (await this.#host.real(at)) === null) at = at.slice(0, at.lastIndexOf("/")) || "/";
    return this.#under(at, 0);
  }

  async block(path: string): Promise<Block | null> {
    const kname = await this.#kname(path);
    return kname === null ? null : (this.view.devices.get(kname) ?? null);
  }

  async #under(path: string, depth: number): Promise<AuditLayer> {
    const kname = await this.#kname(path);
    if (kname !== null) return this.#device(kname, depth);
    const real = await this.#host.real(path);
    if (real === null) return unknown(path, path);
    const mount = mountOf(real, this.mounts);
    if (mount === null || real.startsWith("/dev/")) return unknown(path, path);
    return this.#fileSystem(mount, depth);
  }

  /** `/dev/sda1`, `/dev/mapper/vg-lv`, `/dev/vg/lv`, `/dev/disk/by-…`: links are followed where they are known. */
  async #kname(path: string): Promise<string | null> {
    if (!path.startsWith("/dev/")) return null;
    const real = (await this.#host.real(path)) ?? path;
    const own = real.replace(/^\/dev\//, "");
    if (this.view.devices.has(own)) return own;
    const [, group, volume] = /^\/dev\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    // lvm(8): dashes of the names are doubled.
    const mapped = volume === undefined ? null : `${group!.replaceAll("-", "--")}-${volume.replaceAll("-", "--")}`;
    for (const device of this.view.devices.values()) {
      if (device.path === real || device.path === path || (mapped !== null && device.name === mapped))
        return device.kname;
      const by = /^\/dev\/disk\/by-uuid\/(.+)$/.exec(path)?.[1];
      if (by !== undefined && device.uuid === by) return device.kname;
    }
    return null;
  }

  async #device(kname: string, depth: number): Promise<AuditLayer> {
    const device = this.view.devices.get(kname);
    if (!device || depth > MAX_DEPTH) return unknown(kname, `/dev/${kname}`);
    const below: AuditLayer[] = [];
    for (const name of device.below) below.push(await this.#device(name, depth + 1));
    const base = { name: device.name, path: device.path, cipher: null, keyBits: null, encrypts: false, medium: null };
    if (device.dmUuid !== null || kname.startsWith("dm-")) return mappedLayer(device, below);
    if (/^loop\d+$/.test(kname)) return { ...base, kind: "loop", below: [await this.#loop(kname, depth)] };
    if (device.type === "part") return { ...base, kind: "partition", below: orUnknown(below, device) };
    if (/^zram\d+$/.test(kname)) return { ...base, kind: "memory", below: await this.#writeback(kname, depth) };
    if (/^(nbd|rbd|drbd)\d+/.test(kname)) return { ...base, kind: "network", below };
    if (device.type.startsWith("raid") || /^md/.test(kname))
      return {
        ...base,
        kind: device.type.startsWith("raid") ? device.type : `raid ${device.type}`,
        below: orUnknown(below, device),
      };
    if (device.type !== "disk" && device.type !== "rom") return { ...base, kind: "unknown", below };
    const { rotational, transport, model, serial } = device;
    return { ...base, kind: "disk", medium: { rotational, transport, model, serial }, below };
  }

  async #loop(kname: string, depth: number): Promise<AuditLayer> {
    const file = this.view.loops.get(kname);
    if (file === undefined || file.endsWith(" (deleted)")) return unknown(kname, file ?? null);
    return this.#under(file, depth + 1);
  }

  /** Compressed memory may be written to a device of its own (Linux, Documentation/admin-guide/blockdev/zram.rst, "writeback"). */
  async #writeback(kname: string, depth: number): Promise<AuditLayer[]> {
    const file = await this.#host.file(`/sys/block/${kname}/backing_dev`);
    const path = file.kind === "text" ? file.text.trim() : "none";
    return path === "none" || path === "" ? [] : [await this.#under(path, depth + 1)];
  }

  async #fileSystem(mount: Mount, depth: number): Promise<AuditLayer> {
    const { type, source, target } = mount;
    const base = { name: type, path: target, cipher: null, keyBits: null, encrypts: false, medium: null };
    if (MEMORY.test(type)) return { ...base, kind: "memory", below: [] };
    if (NETWORK.test(type)) return { ...base, name: source, kind: "network", below: [] };
    const names = await this.#devicesOf(mount);
    if (names.length === 0) return { ...base, kind: "file system", below: [unknown(source, source)] };
    const below: AuditLayer[] = [];
    for (const name of names) below.push(await this.#device(name, depth + 1));
    // xfs(5): a log or a real-time part may lie elsewhere.
    for (const option of mount.options) {
      const other = /^(?:logdev|rtdev|journal_path)=(.+)$/.exec(option)?.[1];
      if (other !== undefined) below.push(await this.#under(other, depth + 1));
    }
    return { ...base, kind: "file system", below };
  }

  /** Kernel names. A Btrfs may have several devices and has a number of its own; sysfs lists all. */
  async #devicesOf({ type, number, source }: Mount): Promise<string[]> {
    for (const device of this.view.devices.values()) if (device.number === number) return [device.kname];
    if (type !== "btrfs") return [];
    const own = await this.#kname(source);
    for (const id of (await this.#host.list("/sys/fs/btrfs")) ?? []) {
      const names = (await this.#host.list(`/sys/fs/btrfs/${id}/devices`)) ?? [];
      if (own !== null && names.includes(own)) return [...names];
    }
    // Without the list it is not known whether it is the only one.
    return [];
  }
}

/** Device mapper's UUID begins with who made the device (cryptsetup's and LVM's prefixes). */
function mappedLayer(device: Block, below: readonly AuditLayer[]): AuditLayer {
  const { dmUuid, table, name, path } = device;
  const base = {
    name,
    path,
    cipher: null,
    keyBits: null,
    encrypts: false,
    medium: null,
    below: orUnknown(below, device),
  };
  // These keep sums of the data and leave it readable.
  if (dmUuid === null) return { ...base, kind: "unknown", below: [] };
  if (/^CRYPT-(VERITY|INTEGRITY)-/.test(dmUuid)) return { ...base, kind: "integrity" };
  if (dmUuid.startsWith("CRYPT-")) {
    const first = table?.find((s) => s.target === "crypt") ?? null;
    // In the middle of a re-encryption it is put together of others, and these are below.
    if (table !== null && first === null) return { ...base, kind: "mapped" };
    const encrypts = table !== null && table.length > 0 && table.every(isReal);
    const { cipher = null, keyBits = null } = first ?? {};
    return { ...base, kind: "crypt", cipher, keyBits, encrypts };
  }
  if (dmUuid.startsWith("LVM-")) return { ...base, kind: "lvm" };
  if (dmUuid.startsWith("mpath-")) return { ...base, kind: "multipath" };
  return { ...base, kind: /^part\d+-/.test(dmUuid) ? "partition" : "mapped" };
}

/** What must lie on something, and nothing is told of it. */
function orUnknown(below: readonly AuditLayer[], device: Block): readonly AuditLayer[] {
  return below.length > 0 ? below : [unknown(device.kname, null)];
}

export function unknown(name: string, path: string | null): AuditLayer {
  return { kind: "unknown", name, path, cipher: null, keyBits: null, encrypts: false, medium: null, below: [] };
}

/** `yes` only when every way down crosses a layer that really encrypts. */
export function encryptionOf(layer: AuditLayer): "yes" | "no" | "unknown" {
  if (layer.encrypts) return "yes";
  // What device mapper's table did not tell.
  if (layer.kind === "crypt" && layer.cipher === null) return "unknown";
  if (layer.below.length === 0) return layer.kind === "disk" || layer.kind === "partition" ? "no" : "unknown";
  const ways = layer.below.map(encryptionOf);
  return ways.includes("no") ? "no" : ways.includes("unknown") ? "unknown" : "yes";
}

/** The layers at which a way down ends without encryption, or that are not known. */
export function bareEnds(layer: AuditLayer): AuditLayer[] {
  if (layer.encrypts) return [];
  return layer.below.length === 0 ? [layer] : layer.below.flatMap(bareEnds);
}

/** All layers, this one first. */
export function allLayers(layer: AuditLayer): AuditLayer[] {
  return [layer, ...layer.below.flatMap(allLayers)];
}
