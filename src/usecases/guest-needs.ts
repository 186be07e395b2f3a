import { printable } from "../bytes/text.ts";
import type { CryptEntry } from "../host/crypttab.ts";
import type { HostView } from "../host/host-view.ts";
import { splitMapperName } from "../host/lvm-groups.ts";
import type { DeclaredMount } from "../host/mount-table.ts";
import type { HostDevice } from "../host/rests-on.ts";
import { unescapeUnit } from "../host/unit-names.ts";

interface NeedBase {
  /** Unique: `crypt:NAME`, `volume:GROUP/NAME`, `mount:PATH`. */
  readonly id: string;
  /** It is there now. */
  readonly done: boolean;
  /** It is an encrypted volume or lies on one, so that locking takes it away. */
  readonly onCrypt: boolean;
}

/** An encrypted volume of the host, to be opened under this name. */
export interface CryptNeed extends NeedBase {
  readonly kind: "crypt";
  readonly name: string;
  /** Null: it is open, but nothing declares it. */
  readonly entry: CryptEntry | null;
  /** Device mapper's UUID when it is open. */
  readonly uuid: string | null;
}

/** A logical volume, to be activated when its group has become visible. */
export interface VolumeNeed extends NeedBase {
  readonly kind: "volume";
  readonly group: string;
  readonly volume: string;
}

export interface MountNeed extends NeedBase {
  readonly kind: "mount";
  readonly where: string;
  /** Null: it is mounted, but nothing declares it. */
  readonly declared: DeclaredMount | null;
}

export type Need = CryptNeed | VolumeNeed | MountNeed;

export interface Needs {
  /** In the order in which they are opened; closing goes backwards. */
  readonly steps: readonly Need[];
  /** What is not there and cannot be brought, with what would help. */
  readonly missing: readonly { readonly what: string; readonly hint: string }[];
  /** What works now, and would not after the next boot. */
  readonly undeclared: readonly { readonly what: string; readonly hint: string }[];
}

/** More layers than a host has; ends loops of tables that name each other. */
const MAX_DEPTH = 32;

/**
 * What must be opened, activated and mounted on this host before the files and devices `paths` are there. Only looks. `known`: how volumes are
 * opened that crypttab does not name.
 */
export function needsOf(paths: readonly string[], view: HostView, known: readonly CryptEntry[] = []): Needs {
  const walk = new Walk(view, known);
  for (const path of paths) walk.path(path, 0);
  return walk;
}

class Walk implements Needs {
  readonly steps: Need[] = [];
  readonly missing: { what: string; hint: string }[] = [];
  readonly undeclared: { what: string; hint: string }[] = [];
  readonly #view: HostView;
  readonly #known: readonly CryptEntry[];
  /** Paths that were walked, with their answer. */
  readonly #paths = new Map<string, boolean>();

  constructor(view: HostView, known: readonly CryptEntry[]) {
    this.#view = view;
    this.#known = known;
  }

  /** Adds what a path needs. True when it lies on an encrypted volume. */
  path(path: string, depth: number): boolean {
    const known = this.#paths.get(path);
    if (known !== undefined) return known;
    if (depth > MAX_DEPTH) {
      this.#miss(path, "the host's tables lead in a circle: look at /etc/crypttab and /etc/fstab");
      return false;
    }
    this.#paths.set(path, false);
    const answer = path.startsWith("/dev/") ? this.#devicePath(path, depth) : this.#file(path, depth);
    this.#paths.set(path, answer);
    return answer;
  }

  #miss(what: string, hint: string): void {
    if (!this.missing.some((m) => m.what === what)) this.missing.push({ what, hint });
  }

  #remark(what: string, hint: string): void {
    if (!this.undeclared.some((u) => u.what === what)) this.undeclared.push({ what, hint });
  }

  #add(step: Need): boolean {
    if (!this.steps.some((s) => s.id === step.id)) this.steps.push(step);
    return step.onCrypt;
  }

  #devicePath(path: string, depth: number): boolean {
    const device = this.#view.device(path);
    if (device !== null) return this.#device(device, depth);
    const name = /^\/dev\/mapper\/([^/]+)$/.exec(path)?.[1] ?? /^\/dev\/disk\/by-id\/dm-name-(.+)$/.exec(path)?.[1];
    if (name !== undefined) {
      const entry = this.#view.crypttab.find((e) => e.name === name);
      if (entry) return this.#closed(entry, depth);
      const known = this.#known.find((e) => e.name === name);
      if (known) {
        this.#remark(
          path,
          "opened as its migration made it; once it is open, `unterbau boot enable` writes its line of /etc/crypttab",
        );
        return this.#closed(known, depth);
      }
      const split = splitMapperName(name);
      if (split !== null && this.#view.groups.has(split.group)) return this.#volume(split.group, split.volume, depth);
      this.#miss(path, declareHint(name));
      return false;
    }
    const [, group = "", volume = ""] = /^\/dev\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    if (this.#view.groups.has(group)) return this.#volume(group, volume, depth);
    if (group !== "" && group !== "disk" && group !== "md") {
      this.#miss(path, `LVM has no note of a group ${printable(group)} (/etc/lvm/backup, vgcfgbackup makes it)`);
    } else {
      this.#miss(
        path,
        "is the disk there? When it lies in an encrypted volume, name it by its path below /dev/mapper instead",
      );
    }
    return false;
  }

  /** A mapping that crypttab declares and that is not open. */
  #closed(entry: CryptEntry, depth: number): boolean {
    this.path(entry.device, depth + 1);
    if (entry.keyFile?.startsWith("/") && !entry.keyFile.startsWith("/dev/")) this.#keyPlace(entry.keyFile, depth);
    const { name } = entry;
    return this.#add({ kind: "crypt", id: `crypt:${name}`, name, entry, uuid: null, done: false, onCrypt: true });
  }

  /** A key file may lie on a file system that has to be mounted. */
  #keyPlace(path: string, depth: number): void {
    if (this.#declaredFor(path) !== null) this.path(path, depth + 1);
  }

  /** A logical volume whose group cannot be seen. */
  #volume(group: string, volume: string, depth: number): boolean {
    let onCrypt = false;
    for (const device of this.#view.groups.get(group) ?? []) onCrypt = this.path(device, depth + 1) || onCrypt;
    return this.#add({ kind: "volume", id: `volume:${group}/${volume}`, group, volume, done: false, onCrypt });
  }

  /** A device that is there, with all that it lies on. */
  #device(device: HostDevice, depth: number): boolean {
    if (device.kind === "loop") return this.path(device.path, depth + 1);
    let onCrypt = false;
    for (const below of device.below) onCrypt = this.#device(below, depth + 1) || onCrypt;
    const name = device.path.replace(/^\/dev\/mapper\//, "");
    if (device.kind === "crypt") {
      const entry = this.#view.crypttab.find((e) => e.name === name) ?? null;
      const uuid = this.#view.mappedUuid(name);
      if (entry === null) this.#remark(device.path, declareHint(name, uuid));
      return this.#add({ kind: "crypt", id: `crypt:${name}`, name, entry, uuid, done: true, onCrypt: true });
    }
    const split = device.kind === "lvm" && onCrypt ? splitMapperName(name) : null;
    if (split !== null) {
      const { group, volume } = split;
      this.#add({ kind: "volume", id: `volume:${group}/${volume}`, group, volume, done: true, onCrypt });
    }
    return onCrypt;
  }

  #file(path: string, depth: number): boolean {
    const real = this.#view.real(path);
    const declared = this.#declaredFor(real);
    const now = this.#mountedFor(real);
    if (declared === null || (now !== null && now.where.length > declared.where.length)) {
      // Nothing that has to be mounted: what is there counts.
      const device = this.#view.device(real);
      if (device === null) {
        this.#miss(
          path,
          "no mount point of /etc/fstab or of a mount unit holds it: if it lies on a volume that has to be mounted, declare that there",
        );
        return false;
      }
      const onCrypt = this.#device(device, depth);
      if (onCrypt && now !== null && now.where !== "/") this.#mountedOnly(now.where);
      return onCrypt;
    }
    return this.#mount(declared, now?.where === declared.where, depth);
  }

  #mountedOnly(where: string): void {
    this.#add({ kind: "mount", id: `mount:${where}`, where, declared: null, done: true, onCrypt: true });
    this.#remark(`the mount on ${where}`, "a line for it in /etc/fstab, with noauto, says how it is mounted");
  }

  #mount(declared: DeclaredMount, done: boolean, depth: number): boolean {
    const { where } = declared;
    const known = this.steps.find((s) => s.id === `mount:${where}`);
    if (known) return known.onCrypt;
    // The folder itself may lie on something that has to be mounted before.
    const parent = where.slice(0, where.lastIndexOf("/"));
    let onCrypt = parent !== "" && this.#declaredFor(parent) !== null ? this.path(parent, depth + 1) : false;
    const source = done ? this.#view.mounted.findLast((m) => m.where === where)?.source : declared.what;
    for (const required of requiredMappings(declared)) onCrypt = this.path(required, depth + 1) || onCrypt;
    if (source?.startsWith("/")) onCrypt = this.path(source, depth + 1) || onCrypt;
    return this.#add({ kind: "mount", id: `mount:${where}`, where, declared, done, onCrypt });
  }

  /** The declared mount point that holds a path, `/` aside. */
  #declaredFor(path: string): DeclaredMount | null {
    return longest(
      this.#view.declared.filter((m) => m.where !== "/" && m.type !== "swap"),
      path,
    );
  }

  #mountedFor(path: string): { readonly where: string } | null {
    return longest(this.#view.mounted, path);
  }
}

/** The one whose folder is the innermost that holds the path; of equals the last. */
function longest<T extends { readonly where: string }>(mounts: readonly T[], path: string): T | null {
  let found: T | null = null;
  for (const mount of mounts) {
    const holds = mount.where === "/" || path === mount.where || path.startsWith(`${mount.where}/`);
    if (holds && (found === null || mount.where.length >= found.where.length)) found = mount;
  }
  return found;
}

/** systemd.mount(5): `x-systemd.requires=` may name the unit that opens what the mount lies in. */
function requiredMappings(mount: DeclaredMount): string[] {
  return mount.options.flatMap((option) => {
    const [, value = ""] = /^x-systemd\.(?:requires|after)=(.*)$/.exec(option) ?? [];
    const unit = /^systemd-cryptsetup@(.+)\.service$/.exec(value)?.[1];
    if (unit !== undefined) return [`/dev/mapper/${unescapeUnit(unit)}`];
    return value.startsWith("/dev/") ? [value] : [];
  });
}

function declareHint(name: string, mapped: string | null = null): string {
  // libcryptsetup: CRYPT-TYPE-UUID-NAME, the UUID without hyphens.
  const hex = /^CRYPT-LUKS[12]-([0-9a-f]{32})-/.exec(mapped ?? "")?.[1];
  const uuid = hex?.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") ?? "…";
  return `a line in /etc/crypttab says how it is opened: ${printable(name)} UUID=${uuid} none luks,noauto`;
}
