import { StorageError } from "../core/errors.ts";
import { run, settle, writesAnyway } from "./actions.ts";
import type { Planner } from "./make.ts";
import type { Argument, Probe } from "./model.ts";
import { lvmName, lvmUuid, mapperName } from "./names.ts";
import type { PhysicalVolume, VolumeGroup, VolumePlace } from "./places.ts";

const SECTOR = 512;
/** Bytes of metadata areas that are copied for a group under another name; pvcreate makes 1 MiB. */
const MOST_METADATA = 64 * 1024 * 1024;

/** Activates volume groups: from exactly their own devices, and under another name where theirs is taken. */
export class GroupSteps {
  readonly #planner: Planner;
  /** Names under which groups are active. */
  readonly #active = new Map<VolumeGroup, string>();

  constructor(planner: Planner) {
    this.#planner = planner;
  }

  /** The device of a volume. */
  volume(place: VolumePlace): Argument {
    const { group } = place;
    const name = this.#active.get(group) ?? this.#activate(group);
    this.#active.set(group, name);
    return [`/dev/mapper/${mapperName(name)}-${mapperName(lvmName(place.name))}`];
  }

  #activate(group: VolumeGroup): string {
    const { options } = this.#planner;
    const own = lvmName(group.name);
    const [stateful] = group.stateful;
    if (stateful !== undefined && !options.repair) throw writesAnyway(`a group with a ${stateful} volume`);
    if (options.groupActive(group.uuid)) throw activeItself(own);
    const taken = options.nameInUse(own) || [...this.#active.values()].includes(own);
    const plain = group.members.map((member) => this.#planner.device(member.place));
    const name = taken ? `${options.tag.replaceAll("-", "_")}_${own.slice(0, 40)}` : own;
    if (taken && [...this.#active.values()].includes(name)) throw thirdOfThatName(own);
    const devices = taken ? this.#underOtherName(group, plain, name) : plain;
    const select = taken ? [name] : ["--select", `vg_uuid=${lvmUuid(group.uuid)}`];
    const lvm = lvmOptions(devices, options.repair ? null : name);
    this.#planner.add({
      id: this.#planner.id("group"),
      title: `The volume group ${name}, by its UUID and from ${devices.length === 1 ? "this device" : "these devices"} only`,
      act: [run("vgchange", ...lvm, "--activate", "y", "--ignoreactivationskip", "--poll", "n", ...select), settle()],
      undo: [settle(), run("vgchange", ...lvm, "--activate", "n", ...select)],
      unless: itself(group),
      probe: { kind: "group", name },
    });
    return name;
  }

  /**
   * A group of this name is active here: a second one cannot be. Its metadata is copied and renamed there; what LVM then gets is the copy
   * followed by the guest's own data. The guest's disk keeps its name and UUID, whatever happens.
   */
  #underOtherName(group: VolumeGroup, plain: readonly Argument[], name: string): readonly Argument[] {
    const own = lvmName(group.name);
    const copies = group.members.map((pv, i) => this.#copyMetadata(pv, plain[i]!));
    const lvm = lvmOptions(copies, null);
    this.#planner.add({
      id: this.#planner.id("rename"),
      title: `The copy gets the name ${name} and another UUID, as this host may have a group called ${own} itself`,
      act: [
        run("vgrename", ...lvm, lvmUuid(group.uuid), name),
        run("vgchange", ...lvm, "--uuid", name),
        run("touch", `${this.#planner.options.work}/${name}`),
      ],
      unless: itself(group),
      undo: [run("rm", "-f", `${this.#planner.options.work}/${name}`)],
      probe: { kind: "path", path: `${this.#planner.options.work}/${name}` },
    });
    return group.members.map((pv, i) => this.#joined(pv, plain[i]!, copies[i]!));
  }

  /** A sparse file as large as the physical volume, with its metadata; as a loop device. */
  #copyMetadata(pv: PhysicalVolume, device: Argument): Argument {
    const planner = this.#planner;
    const { dataStart, dataEnd, size } = pv;
    const tail = size - dataEnd;
    if (dataStart > MOST_METADATA || tail > MOST_METADATA || [dataStart, dataEnd, size].some((n) => n % SECTOR !== 0)) {
      throw new StorageError("unsupported", "a physical volume has more metadata than is copied, or at odd places", {
        layer: "plan",
        feature: "a group whose name is taken, with unusual metadata areas",
        hint: "deactivate the host's group of that name first",
      });
    }
    const id = planner.id("metadata");
    const path = `${planner.options.work}/${id}`;
    const copy = (from: number, count: number) =>
      run(
        "dd",
        ["if=", ...device],
        `of=${path}`,
        `bs=${SECTOR}`,
        `skip=${from / SECTOR}`,
        `seek=${from / SECTOR}`,
        `count=${count / SECTOR}`,
        "conv=notrunc",
        "status=none",
      );
    planner.add({
      id,
      title: "A copy of the physical volume's metadata, without its data",
      act: [
        copy(0, dataStart),
        ...(tail > 0 ? [copy(dataEnd, tail)] : []),
        run("truncate", "--size", String(size), path),
      ],
      undo: [{ kind: "remove", path }],
      probe: { kind: "path", path },
    });
    const loop = planner.id("loop");
    const loopDevice: Argument = [{ ref: loop }];
    planner.add({
      id: loop,
      title: "The copy as a loop device",
      choose: "loop",
      act: [run("losetup", loopDevice, path), settle()],
      undo: [settle(), run("losetup", "--detach", loopDevice)],
      probe: { kind: "loop", device: loopDevice, backing: [path], offset: 0 },
    });
    return loopDevice;
  }

  /** The copied metadata and the data where it is, as one device. */
  #joined(pv: PhysicalVolume, device: Argument, copy: Argument): Argument {
    const planner = this.#planner;
    const id = planner.id("joined");
    const name = `${planner.options.tag}-${id}`;
    const start = pv.dataStart / SECTOR;
    const end = pv.dataEnd / SECTOR;
    const size = pv.size / SECTOR;
    const tail: Argument = size > end ? [`,${end} ${size - end} linear `, ...copy, ` ${end}`] : [];
    const table: Argument = [
      `${name},,,${planner.options.repair ? "rw" : "ro"},0 ${start} linear `,
      ...copy,
      ` 0,${start} ${end - start} linear `,
      ...device,
      ` ${start}`,
      ...tail,
    ];
    planner.add({
      id,
      title: "The renamed metadata with the guest's own data behind it",
      act: [run("dmsetup", "create", "--concise", table), settle()],
      undo: [settle(), run("dmsetup", "remove", "--retry", name)],
      probe: { kind: "mapped", name },
    });
    return [`/dev/mapper/${name}`];
  }
}

/** Options that shut out this host's own groups, configuration, monitors and metadata archive. `readOnly`: the name of a group not to be written to. */
function lvmOptions(devices: readonly Argument[], readOnly: string | null): readonly Argument[] {
  const list: Argument = devices.flatMap((device, i) => (i === 0 ? device : [",", ...device]));
  const lists = readOnly === null ? "" : ` read_only_volume_list=["${readOnly}"]`;
  const config = `backup{backup=0 archive=0} devices{scan_lvs=1} activation{monitoring=0${lists}} global{use_lvmlockd=0 use_lvmpolld=0}`;
  return [["--devices"], list, ["--config"], [config]];
}

/**
 * The group's own volumes, by device mapper's UUID. LVM takes a volume with a known UUID for the one that is active: it would rename the
 * host's, and load it with our devices.
 */
function itself(group: VolumeGroup): Probe {
  const prefix = `LVM-${lvmUuid(group.uuid).replaceAll("-", "")}`;
  return { kind: "uuid", prefix, what: `the group ${group.name} itself, or a clone of it,` };
}

function activeItself(name: string): StorageError {
  return new StorageError("locked", `the group ${name} itself, or a clone of it, is active on this host`, {
    layer: "plan",
    hint: "vgchange -an ends that, where it is a guest's; check, exec and export do not need it",
  });
}

function thirdOfThatName(name: string): StorageError {
  return new StorageError("unsupported", `more than two groups are called ${name}`, {
    layer: "plan",
    feature: "three groups of one name",
    hint: "name one of them with --volume",
  });
}
