import { existsSync, realpathSync, statSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import type { Cleanup } from "../core/cleanup.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import type { CryptEntry } from "../host/crypttab.ts";
import { thisHost } from "../host/host-view.ts";
import { isEncrypted, restsOn } from "../host/rests-on.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { describePlace } from "../libvirt/place.ts";
import { wholeDisk } from "./convert.ts";
import { disksOf, type NamedDisk } from "./guest-sources.ts";
import type { Guest } from "./guests.ts";
import { encryptionInside } from "./look-for-luks.ts";
import { openForInspection } from "./open-for-reading.ts";
import type { SourceOptions } from "./source-options.ts";

/** A disk that is about to be backed up. */
export interface DiskToBackUp {
  readonly target: string;
  readonly kind: "ciphertext" | "content";
  /** Path, or NBD URI of a live view. */
  readonly source: string;
  readonly device: BlockDevice;
  /** The LUKS volume that holds it and nothing else, else null. `entry`: its line of crypttab; null where QEMU opens it. */
  readonly luks: { readonly device: string; readonly entry: CryptEntry | null } | null;
  /** It is encrypted where it is now, and its bytes here are not. */
  readonly bares: boolean;
  /** Throws when something wrote to it since it was opened. */
  unchanged(): void;
}

export interface DiskOptions {
  readonly connect?: string | undefined;
  readonly content: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

interface HostLuks {
  readonly device: string;
  readonly entry: CryptEntry;
}

/** Nothing is unlocked: what a guest has encrypted itself stays so. */
const NO_KEYS: KeyProvider = { secretsFor: async () => [] };

/** Opens and locks all disks of a guest that is off, so that they are of one moment. */
export async function openDisks(guest: Guest, options: DiskOptions, cleanup: Cleanup): Promise<DiskToBackUp[]> {
  const { connect, signal, note } = options;
  const base = { keys: NO_KEYS, connect, signal, note, streaming: true };
  const drives = guest.domain.disks.filter((d) => d.device === "disk" || d.device === "lun");
  const closed = new Map<string, HostLuks>();
  for (const { target, place } of options.content ? [] : drives) {
    const luks = place.kind === "file" || place.kind === "block" ? luksUnder(place.path) : null;
    if (luks !== null) closed.set(target, luks);
  }
  const others = drives.filter((d) => !closed.has(d.target));
  const rest = { ...guest, domain: { ...guest.domain, disks: others } };
  const named =
    others.length === 0 && closed.size > 0 ? [] : await disksOf(rest, { ...base, sources: [], iKnow: true });
  const found: DiskToBackUp[] = [];
  for (const { target } of drives) {
    const luks = closed.get(target);
    const disk = named.find((n) => n.declared.target === target);
    if (luks) found.push(await ciphertext(target, luks, base, cleanup));
    else if (disk) found.push(await content(disk, guest, base, cleanup));
  }
  return found;
}

async function content(
  { name, declared }: NamedDisk,
  guest: Guest,
  base: Omit<SourceOptions, "sources">,
  cleanup: Cleanup,
): Promise<DiskToBackUp> {
  if (name.startsWith("nbd+unix:")) {
    throw new StorageError(
      "unsupported",
      `the disk ${printable(name)} of ${printable(guest.name)} is not on this host`,
      {
        layer: "libvirt",
        feature: "backup of a network disk",
      },
    );
  }
  const { target } = declared;
  const { encryption = null } = guest.domain.disks.find((d) => d.target === target) ?? {};
  if (encryption !== null) return await openedByQemu(declared, encryption, name, base, cleanup);
  const bares = isEncrypted(restsOn(name)) && !(await encryptedInside(guest, target, name));
  const opened = await open({ ...base, sources: [name], declared: new Map([[name, declared]]) }, cleanup);
  return { target, kind: "content", source: name, luks: luksUnder(name), bares, ...opened };
}

/** Its bytes are what QEMU decrypts, and not what the guest sees. */
async function openedByQemu(
  declared: NamedDisk["declared"],
  encryption: NonNullable<DomainDisk["encryption"]>,
  name: string,
  base: Omit<SourceOptions, "sources">,
  cleanup: Cleanup,
): Promise<DiskToBackUp> {
  const { target, format } = declared;
  if (format !== "raw" || encryption.format !== "luks") {
    throw new StorageError(
      "unsupported",
      `disk ${printable(target)} is encrypted inside its image ${printable(name)}, and cannot be told apart from that`,
      {
        layer: "libvirt",
        feature: "ciphertext of an image",
        hint: "copy the image file as it is while the guest is off; or start the guest and back its content up with --live",
      },
    );
  }
  const opened = await open({ ...base, sources: [name], format: "raw" }, cleanup);
  return { target, kind: "ciphertext", source: name, luks: { device: name, entry: null }, bares: false, ...opened };
}

/** The disks of a running guest in a view of one instant, in its order. */
export async function openViewed(
  guest: Guest,
  sources: readonly string[],
  options: DiskOptions,
  cleanup: Cleanup,
): Promise<DiskToBackUp[]> {
  const disks = guest.domain.disks.filter(
    (d) => (d.device === "disk" || d.device === "lun") && d.place.kind !== "empty",
  );
  const found: DiskToBackUp[] = [];
  for (const [i, source] of sources.entries()) {
    const { target, place, encryption } = disks[i]!;
    const path = place.kind === "file" || place.kind === "block" ? place.path : null;
    const luks = path === null ? null : luksUnder(path);
    if (luks !== null && !options.content) {
      throw new StorageError(
        "unsupported",
        `disk ${printable(target)} is decrypted by the host, and a running guest can only be seen decrypted`,
        {
          layer: "libvirt",
          feature: "ciphertext of a running guest",
          hint: "back its content up with --content, or shut it down and close its volumes (unterbau lock)",
        },
      );
    }
    const stays = path !== null && existsSync(path) && (await encryptedInside(guest, target, path));
    const bares =
      // QEMU shows what it has decrypted.
      encryption !== null || (path !== null && existsSync(path) && isEncrypted(restsOn(path)) && !stays);
    const opened = await open(
      { keys: NO_KEYS, sources: [source], format: "raw", streaming: true, signal: options.signal },
      cleanup,
    );
    found.push({ target, kind: "content", source: describePlace(place), luks, bares, ...opened, unchanged: () => {} });
  }
  return found;
}

async function ciphertext(
  target: string,
  luks: HostLuks,
  base: Omit<SourceOptions, "sources">,
  cleanup: Cleanup,
): Promise<DiskToBackUp> {
  const { device: path, entry } = luks;
  if (thisHost().mappedUuid(entry.name) !== null) {
    throw new StorageError("locked", `${printable(entry.name)} is open: what lies in it may change`, {
      layer: "luks",
      hint: "unterbau lock vm:GUEST closes it; or back its content up with --content",
    });
  }
  if (!existsSync(path)) {
    throw new StorageError("io", `${printable(path)}, on which ${printable(entry.name)} lies, is not there`, {
      layer: "host",
    });
  }
  const device = await open({ ...base, sources: [path], format: "raw" }, cleanup);
  return { target, kind: "ciphertext", source: path, luks, bares: false, ...device };
}

async function open(
  options: SourceOptions,
  cleanup: Cleanup,
): Promise<{ readonly device: BlockDevice; unchanged(): void }> {
  const opened = cleanup.use(await openForInspection(options));
  const device = wholeDisk(opened.stack.tree.roots[0]!);
  const [name = ""] = options.sources;
  if (device === null)
    throw new StorageError("unsupported", `the disk ${printable(name)} cannot be read`, { layer: "file" });
  const files = [...opened.files, ...opened.named];
  const before = files.map(stateOf);
  const unchanged = (): void => {
    const changed = files.find((path, i) => stateOf(path) !== before[i]);
    if (changed === undefined) return;
    throw new StorageError("locked", `${printable(changed)} was changed while it was read`, {
      layer: "backup",
      hint: "somebody writes to it without a lock: end that, then repeat",
    });
  };
  return { device, unchanged };
}

/** Of a block device nothing tells; it is opened and locked. */
function stateOf(path: string): string {
  const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
  return statSync(path).isFile() ? [dev, ino, size, mtimeMs, ctimeMs].join(" ") : "";
}

/** The line of crypttab whose mapping is this disk; open, or closed. */
function luksUnder(path: string): HostLuks | null {
  const view = thisHost();
  const device = view.device(path);
  const mapped = device?.kind === "crypt" ? device.path : path;
  const entry = view.crypttab.find((e) => `/dev/mapper/${e.name}` === mapped);
  return entry === undefined ? null : { device: view.real(entry.device), entry };
}

async function encryptedInside(guest: Guest, target: string, path: string): Promise<boolean> {
  const disk = guest.domain.disks.find((d) => d.target === target);
  return disk !== undefined && (await encryptionInside(disk, realpathSync(path))).state === "full";
}
