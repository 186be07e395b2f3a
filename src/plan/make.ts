import { gone, run, settle, writesAnyway } from "./actions.ts";
import { GroupSteps } from "./groups.ts";
import type { Action, Argument, Check, Part, Plan, PlanGuest, Step, WantedKey } from "./model.ts";
import { arrayUuid, lvmUuid, plainPath, plainUuid } from "./names.ts";
import type { ArrayPlace, FilePlace, ImagePlace, LuksPlace, Place, SlicePlace, SourcePlace, Target } from "./places.ts";

const SECTOR = 512;

export interface PlanOptions {
  readonly tag: string;
  /** The plan's own folder; made, and removed, by its first step. */
  readonly work: string;
  readonly sources: readonly string[];
  readonly guests: readonly PlanGuest[];
  readonly inside: readonly string[];
  readonly repair: boolean;
  /** The absolute path of the key file that the user named so; null: it was none. */
  readonly keyFile: (origin: string) => string | null;
  /** Whether a group of this name is active on the host. */
  readonly nameInUse: (group: string) => boolean;
  /** Whether the group with this UUID is active on the host. */
  readonly groupActive: (uuid: string) => boolean;
  /** UUIDs of all physical volumes and array members that udev will see, wanted or not. */
  readonly hidden: readonly { readonly type: "LVM2_member" | "linux_raid_member"; readonly uuid: string }[];
}

/** The steps that show the targets to the host's kernel. Throws `unsupported` for what a kernel cannot open in this way. */
export function makePlan(targets: readonly Target[], options: PlanOptions): Plan {
  const planner = new Planner(options);
  const checks = targets.map((target) => planner.check(target));
  return {
    tag: options.tag,
    work: options.work,
    sources: options.sources,
    guests: options.guests,
    inside: options.inside,
    repair: options.repair,
    steps: planner.steps,
    checks,
    env: { LVM_SYSTEM_DIR: options.work },
  };
}

/** Emits the steps that a place needs, once each, in the order in which they can be done. */
export class Planner {
  readonly steps: Step[] = [];
  readonly options: PlanOptions;
  readonly #devices = new Map<Place, Argument>();
  readonly #counts = new Map<string, number>();
  readonly #groups = new GroupSteps(this);

  constructor(options: PlanOptions) {
    this.options = options;
    const { work } = options;
    this.add({
      id: "folder",
      title:
        "A folder of its own. LVM gets it as its configuration: nothing that this host says of its own disks holds for a guest's",
      act: [run("mkdir", "-p", parent(work)), run("mkdir", "-m", "700", work)],
      undo: [run("rmdir", work)],
      probe: { kind: "path", path: work },
    });
    this.#hide();
  }

  add(step: Omit<Step, "notes" | "choose" | "unless"> & Partial<Pick<Step, "notes" | "choose" | "unless">>): Step {
    const whole = { notes: [], choose: null, unless: null, ...step };
    this.steps.push(whole);
    return whole;
  }

  /** `loop1`, `loop2`, … */
  id(kind: string): string {
    const n = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, n);
    return `${kind}${n}`;
  }

  check(target: Target): Check {
    const { selector, type } = target;
    const device = this.device(target.place);
    const { attended = null, unattended = null } = checker(type, device, this.options.repair);
    return { selector, type: type ?? "unknown", device, argv: attended, unattended };
  }

  /** The path of a block device that holds the place. */
  device(place: Place): Argument {
    const known = this.#devices.get(place);
    if (known) return known;
    const made = this.#open(place);
    this.#devices.set(place, made);
    return made;
  }

  #open(place: Place): Argument {
    switch (place.kind) {
      case "source":
        return place.block ? [plainPath(place.path)] : this.loop(this.file(place), 0, null, place.path, []);
      case "file":
        return this.loop(this.file(place), 0, null, place.path, []);
      case "image":
        return this.#image(place);
      case "slice":
        return this.#slice(place);
      case "luks":
        return this.#luks(place);
      case "array":
        return this.#array(place);
      case "volume":
        return this.#groups.volume(place);
    }
  }

  /** udev must not activate a guest's group or assemble its array by itself: not under its name, and not beside us. */
  #hide(): void {
    const { hidden, tag } = this.options;
    if (hidden.length === 0) return;
    const path = `/run/udev/rules.d/63-${tag}.rules`;
    const rules = hidden.map(({ type, uuid }) => {
      const id = type === "LVM2_member" ? lvmUuid(uuid) : plainUuid(uuid);
      return `ENV{ID_FS_TYPE}=="${type}", ENV{ID_FS_UUID}=="${id}", ENV{ID_FS_TYPE}=""\n`;
    });
    const reload = run("udevadm", "control", "--reload");
    this.add({
      id: "rules",
      title: "udev is to leave the guest's physical volumes and array members alone",
      act: [run("mkdir", "-p", "/run/udev/rules.d"), { kind: "write", path, text: rules.join("") }, reload],
      undo: [{ kind: "remove", path }, reload],
      probe: { kind: "path", path },
    });
  }

  /** Attaches a loop device; `size` null: to the end. Its path. */
  loop(backing: Argument, offset: number, size: number | null, what: string, notes: readonly string[]): Argument {
    const id = this.id("loop");
    const device: Argument = [{ ref: id }];
    const limit = size === null ? [] : ["--sizelimit", String(size)];
    const mode = this.options.repair ? [] : ["--read-only"];
    this.add({
      id,
      title: `${what} as a loop device`,
      notes,
      choose: "loop",
      act: [run("losetup", ...mode, "--offset", String(offset), ...limit, device, backing), settle()],
      undo: [settle(), run("losetup", "--detach", device)],
      probe: { kind: "loop", device, backing, offset },
    });
    return device;
  }

  #slice(place: SlicePlace): Argument {
    const { of, offset, size, name } = place;
    const backing = (of.kind === "source" && !of.block) || of.kind === "file" ? this.file(of) : this.device(of);
    const product =
      offset % SECTOR === 0
        ? [`it begins at sector ${offset / SECTOR}: ${offset / SECTOR} * ${SECTOR} = ${offset}`]
        : [];
    const length =
      size % SECTOR === 0 ? [`and has ${size / SECTOR} sectors: ${size / SECTOR} * ${SECTOR} = ${size}`] : [];
    return this.loop(backing, offset, size, `partition ${name}`, [...product, ...length]);
  }

  /** The path of a file, with the file system mounted that it lies in. */
  file(place: SourcePlace | FilePlace): Argument {
    if (place.kind === "source") return [plainPath(place.path)];
    return [`${this.#mount(place)}${plainPath(place.path)}`];
  }

  readonly #mounted = new Map<Place, string>();

  #mount(place: FilePlace): string {
    const known = this.#mounted.get(place.on);
    if (known !== undefined) return known;
    const device = this.device(place.on);
    const id = this.id("mount");
    const path = `${this.options.work}/${id}`;
    const mode = this.options.repair ? "rw" : "ro";
    this.add({
      id: this.id("folder"),
      title: "A folder to mount it on",
      act: [run("mkdir", "-m", "700", path)],
      undo: [run("rmdir", path)],
      probe: { kind: "path", path },
    });
    this.add({
      id,
      title: `The file system with the image, mounted ${this.options.repair ? "for writing" : "read-only"}`,
      act: [run("mount", "-t", place.type, "-o", `${mode},nosuid,nodev,noexec`, device, path)],
      undo: [run("umount", path)],
      probe: { kind: "mounted", path },
    });
    this.#mounted.set(place.on, path);
    return path;
  }

  #image(place: ImagePlace): Argument {
    const file = place.of.kind === "source" && place.of.block ? this.device(place.of) : this.file(place.of);
    if (!this.steps.some((s) => s.id === "nbd")) {
      this.add({
        id: "nbd",
        title: "Network block devices, without partitions of their own: else each of the guest's would be there twice",
        act: [run("modprobe", "nbd", "max_part=0")],
        undo: [],
        probe: { kind: "module", name: "nbd" },
      });
    }
    const id = this.id("nbd");
    const device: Argument = [{ ref: id }];
    const mode = this.options.repair ? [] : ["--read-only"];
    // QEMU calls VHD by the name of the program that it came from.
    const format = place.format === "vhd" ? "vpc" : place.format;
    const serve = run(
      "qemu-nbd",
      "--verbose",
      ...mode,
      "--cache=writeback",
      `--format=${format}`,
      ["--connect=", ...device],
      file,
    );
    this.add({
      id,
      title: `What the ${place.format} image holds, as a network block device`,
      notes: [
        "the format is said, never guessed: a guest could write any image's header into a raw disk",
        "--verbose keeps qemu-nbd in the foreground: its end tells that the image is closed",
      ],
      choose: "nbd",
      act: [{ ...serve, background: true } as Action, settle()],
      undo: [settle(), run("qemu-nbd", "--disconnect", device)],
      probe: { kind: "nbd", device, file },
    });
    return device;
  }

  #luks(place: LuksPlace): Argument {
    const device = this.device(place.of);
    const id = this.id("crypt");
    const name = `${this.options.tag}-${id}`;
    const mode = this.options.repair ? [] : ["--readonly"];
    const header = place.header === null ? [] : ["--header", plainPath(place.header)];
    const key: WantedKey = { uuid: place.uuid, file: this.options.keyFile(place.opened) };
    const open = run("cryptsetup", "open", "--type", "luks", ...mode, ...header, device, name);
    this.add({
      id,
      title: `The encryption ${plainUuid(place.uuid)}`,
      act: [{ ...open, key } as Action, settle()],
      undo: [settle(), run("cryptsetup", "close", name)],
      probe: { kind: "mapped", name },
    });
    return [`/dev/mapper/${name}`];
  }

  #array(place: ArrayPlace): Argument {
    if (!this.options.repair) throw writesAnyway("an md array");
    const members = place.members.map((member) => this.device(member));
    const id = this.id("array");
    // mdadm(8) takes names of at most 32 characters: the tag's last part tells plans apart.
    const path = `/dev/md/unterbau-${this.options.tag.split("-").at(-1)}-${id}`;
    this.add({
      id,
      title: "The array, from exactly these members",
      act: [run("mdadm", "--assemble", path, "--config=none", `--uuid=${arrayUuid(place.uuid)}`, ...members), settle()],
      undo: [settle(), run("mdadm", "--stop", path), gone(path)],
      probe: { kind: "path", path },
    });
    return [path];
  }
}

function parent(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

/** The program that checks a type of file system, as a person would call it, and as it is called when nobody answers. */
function checker(
  type: string | null,
  device: Argument,
  repair: boolean,
): { attended?: readonly Argument[]; unattended?: readonly Argument[] } {
  const words = (...argv: string[]): readonly Argument[] => [...argv.map((a): readonly Part[] => [a]), device];
  const both = (argv: readonly Argument[]) => ({ attended: argv, unattended: argv });
  switch (type) {
    case "ext2":
    case "ext3":
    case "ext4": {
      if (!repair) return both(words("fsck", "-t", type, "-f", "-n"));
      return { attended: words("fsck", "-t", type, "-f"), unattended: words("fsck", "-t", type, "-f", "-y") };
    }
    case "vfat":
      if (!repair) return both(words("fsck.fat", "-n"));
      return { attended: words("fsck.fat"), unattended: words("fsck.fat", "-a") };
    case "xfs":
      return both(repair ? words("xfs_repair") : words("xfs_repair", "-n"));
    case "btrfs":
      return both(words("btrfs", "check", "--readonly"));
    default:
      return {};
  }
}
