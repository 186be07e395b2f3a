import { readFileSync, realpathSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { forgetLive, liveFolder, noteLive, type SnapshotName, type StoredLive } from "../host/live-store.ts";
import { guardSnapshots } from "../tools/live-guardian.ts";
import { freeBytes, isInvalid, type LogicalVolume, logicalVolume, makeSnapshot, removeSnapshot } from "../tools/lvm.ts";
import { virsh } from "../tools/virsh.ts";
import { pathOf } from "./guest-sources.ts";
import type { Guest } from "./guests.ts";
import { inOneInstant } from "./live-freeze.ts";
import type { LiveOptions, LiveView } from "./live-view.ts";

export interface SnapshotOptions extends LiveOptions {
  /** Bytes for what the guest overwrites meanwhile, of each disk. Default: a tenth of the disk. */
  readonly snapshotSize?: number | undefined;
}

const SHARE = 0.1;
const MIB = 1024 * 1024;
const USUAL_LEAST = 256 * MIB;
/** With less room than this the view of a busy guest would break off at once. */
const LEAST = 16 * MIB;
/** A classic snapshot copies what is overwritten, and its own table beside it: with this much it can never be full. */
const ALL = 1.05;
/** Kinds of volumes of which LVM makes classic snapshots that lie beside them. */
const PLAIN = ["linear", "striped"];

/**
 * The disks of a running guest as they are in one instant, by classic snapshots of the host's logical volumes. The guest goes on also when a
 * snapshot is full: that breaks the view only. Throws `unsupported` with the reason where this cannot be done.
 */
export async function openSnapshotView(guest: Guest, options: SnapshotOptions): Promise<LiveView> {
  if (process.geteuid?.() !== 0) throw refused(guest, "only root may make snapshots of logical volumes", "sudo");
  const { signal, note, quiesce } = options;
  const volumes = await volumesOf(guest, options);
  if (volumes.length > 1 && !quiesce) {
    const what = `it has ${volumes.length} disks, whose snapshots would show different instants`;
    throw refused(guest, what, "--quiesce has its agent freeze its file systems for that moment");
  }
  const sizes: number[] = [];
  for (const volume of volumes) sizes.push(await sizeFor(volume, volumes, guest, options.snapshotSize));
  const uri = (await virsh(["uri"], { uri: guest.uri, readOnly: true, signal })).trim();
  const folder = liveFolder();
  const snapshots = volumes.map(({ group }, i) => ({
    group,
    name: i === 0 ? basename(folder) : `${basename(folder)}-${i}`,
  }));
  let stored: StoredLive;
  try {
    stored = noteLive({ guest: guest.name, uuid: guest.uuid, uri, folder, snapshots });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const guardian = guardSnapshots(uri, guest.uuid, folder, stored.path, snapshots);
  const view = new SnapshotView(stored, snapshots, () => guardian.kill());
  try {
    signal?.throwIfAborted();
    await inOneInstant(guest, stored.record, quiesce, guardian.stdin, async () => {
      for (const [i, volume] of volumes.entries())
        await makeSnapshot(volume, snapshots[i]!.name, sizes[i]!, guardian.stdin);
    });
    const room = sizes.map((size) => `${Math.floor(size / MIB)} MiB`).join(", ");
    note?.(`looked at through snapshots of its logical volumes (${room} for what it overwrites meanwhile)`);
    return view;
  } catch (error) {
    await view[Symbol.asyncDispose]();
    throw error;
  }
}

class SnapshotView implements LiveView {
  readonly sources: readonly string[];
  readonly #stored: StoredLive;
  readonly #snapshots: readonly SnapshotName[];
  readonly #release: () => void;

  constructor(stored: StoredLive, snapshots: readonly SnapshotName[], release: () => void) {
    this.#stored = stored;
    this.#snapshots = snapshots;
    this.#release = release;
    this.sources = snapshots.map(({ group, name }) => `/dev/${group}/${name}`);
  }

  async broken(): Promise<string | null> {
    for (const { group, name } of this.#snapshots)
      if (await isInvalid(group, name))
        return "the guest overwrote more than there was room for, or somebody removed the snapshot";
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { group, name } of this.#snapshots) await removeSnapshot(group, name);
    forgetLive(this.#stored);
    this.#release();
  }
}

async function volumesOf(guest: Guest, options: SnapshotOptions): Promise<LogicalVolume[]> {
  const found: LogicalVolume[] = [];
  for (const disk of guest.domain.disks) {
    if (disk.device !== "disk" && disk.device !== "lun") continue;
    const place = await pathOf(disk.place, guest, options);
    if (place.kind === "empty") continue;
    const target = `its disk ${printable(disk.target)}`;
    const mapped = place.kind === "block" || place.kind === "file" ? mappedVolume(place.path) : null;
    if (mapped === null || disk.format !== "raw")
      throw refused(guest, `${target} is no raw logical volume of this host`);
    const volume = await logicalVolume(mapped);
    const other = volume.types.find((type) => !PLAIN.includes(type));
    if (other !== undefined) throw refused(guest, `${target} is a logical volume of the kind ${other}`);
    found.push(volume);
  }
  if (found.length === 0) throw refused(guest, "it has no disks");
  return found;
}

/** The name in /dev/mapper of a logical volume; null: it is something else. */
function mappedVolume(path: string): string | null {
  try {
    const dm = `/sys/class/block/${basename(realpathSync(path))}/dm`;
    const uuid = readFileSync(`${dm}/uuid`, "utf8").trim();
    // `LVM-`, then the UUIDs of group and volume; what LVM makes for itself has an ending.
    return /^LVM-[A-Za-z0-9]{64}$/.test(uuid) ? `/dev/mapper/${readFileSync(`${dm}/name`, "utf8").trim()}` : null;
  } catch {
    return null;
  }
}

/** Bytes for a snapshot; throws when there is no room on the volume's own devices. */
async function sizeFor(
  volume: LogicalVolume,
  all: readonly LogicalVolume[],
  guest: Guest,
  wanted: number | undefined,
): Promise<number> {
  // Several disks may share devices: each gets its part.
  const free = Math.floor((await freeBytes(volume.devices)) / all.length);
  const usual = Math.min(volume.size * ALL + LEAST, Math.max(USUAL_LEAST, volume.size * SHARE));
  const size = MIB * (wanted === undefined ? Math.floor(Math.min(usual, free) / MIB) : Math.ceil(wanted / MIB));
  if (size <= free && (wanted !== undefined || size >= LEAST)) return size;
  const what = `${volume.devices.join(", ")} has ${Math.floor(free / MIB)} MiB free for a snapshot of ${volume.name}`;
  throw refused(guest, what, "free extents in the group, or name a smaller --snapshot-size");
}

function refused(guest: Guest, what: string, hint?: string): StorageError {
  return new StorageError("unsupported", `no snapshot for a look at ${printable(guest.name)}: ${what}`, {
    layer: "lvm",
    feature: "--via lvm-snapshot",
    hint: hint ?? "--via backup, or shut it down for the check (--shutdown)",
  });
}
