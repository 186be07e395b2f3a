import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import { type HostDevice, type KernelFiles, restsOn } from "../host/rests-on.ts";
import { type VolumeStanding, volumeStanding } from "../tools/lvm.ts";
import { type ThinStanding, thinStanding } from "../tools/thin.ts";

export interface VolumesUnder {
  /** LVM's UUID, when the path itself is a volume. */
  readonly uuid: string | null;
  /** Why it is not certain that a byte is overwritten where it lies. */
  readonly doubts: readonly string[];
}

export interface VolumeOptions {
  readonly kernel?: KernelFiles | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** These write a byte where it lies. */
const IN_PLACE = /^(linear|striped|raid\d+.*|mirror)$/;

/**
 * Looks at the logical volumes that a file or device lies on. Throws `locked` when its bytes would stay somewhere although they are overwritten:
 * snapshots, blocks that thin volumes share, caches; `limit` when the pool has no room for what would be written.
 */
export async function volumesUnder(path: string, { kernel, signal }: VolumeOptions): Promise<VolumesUnder> {
  const own = restsOn(path, kernel);
  const doubts: string[] = [];
  let uuid: string | null = null;
  for (const device of firstVolumes(own)) {
    let standing: VolumeStanding;
    try {
      standing = await volumeStanding(device.path);
    } catch (error) {
      if (error instanceof StorageError && error.code === "cancelled") throw error;
      doubts.push(`LVM does not tell whether ${device.path} has snapshots or is thin: ${describeError(error)}`);
      continue;
    }
    if (device === own) uuid = standing.uuid;
    refuseKept(device, standing);
    for (const type of standing.types.filter((t) => !IN_PLACE.test(t))) {
      doubts.push(
        type === "thin"
          ? await lookAtThin(device, standing, device !== own && statSync(path).isBlockDevice(), signal)
          : `${device.path} is a volume of the kind ${type}, of which parts may lie elsewhere`,
      );
    }
  }
  return { uuid, doubts };
}

/** On each way down; what LVM makes of parts of its own is no volume. */
function firstVolumes(device: HostDevice, inside = false): HostDevice[] {
  const volume = device.kind === "lvm";
  const below = device.below.flatMap((d) => firstVolumes(d, volume));
  return [...new Map([...(volume && !inside ? [device] : []), ...below].map((d) => [d.name, d])).values()];
}

function refuseKept({ path }: HostDevice, { origin, types, snapshots }: VolumeStanding): void {
  const name = printable(path);
  const locked = (what: string, hint: string) => new StorageError("locked", `${name} ${what}`, { layer: "lvm", hint });
  if (snapshots.length > 0) {
    const names = snapshots.map(printable).join(", ");
    throw locked(
      `has snapshots, which keep what it held: ${names}`,
      "remove them first (lvremove), if they may be lost",
    );
  }
  // Before the origin: LVM names that of a cached volume, too, which is its own disk.
  if (types.some((type) => type === "cache" || type === "writecache")) {
    throw locked(
      "has a cache: what is written stays there, and its own disk keeps what it held",
      "take the cache away first: lvconvert --splitcache; what it held is in its volume then, which has to be overwritten, too",
    );
  }
  if (origin !== "" && !types.includes("thin")) {
    throw locked(
      `is a snapshot of ${printable(origin)}: what is written to it goes elsewhere, and ${printable(origin)} keeps what it shows`,
      "what is to be destroyed lies in both: remove the snapshot (lvremove), and overwrite its origin by hand if that may be lost as well",
    );
  }
}

/** `whole`: something that lies on it will be written from end to end. */
async function lookAtThin(
  { path }: HostDevice,
  { origin, pool, neighbours, size }: VolumeStanding,
  whole: boolean,
  signal: AbortSignal | undefined,
): Promise<string> {
  const name = printable(path);
  const thin = await thinStanding(path, signal);
  if (thin === null)
    throw new StorageError("io", `the kernel does not show ${name} as a thin volume`, { layer: "lvm" });
  if (thin.external) {
    throw new StorageError(
      "locked",
      `parts of ${name} lie in ${printable(origin) || "another volume"}, which keeps what it holds`,
      {
        layer: "lvm",
        hint: "it was made as a snapshot of that volume: overwrite both by hand, if they may be lost",
      },
    );
  }
  refuseShared(name, thin, [...new Set([...(origin === "" ? [] : [origin]), ...neighbours])], pool);
  // Of a thin volume itself only what it has is overwritten.
  const mapped = thin.mappings.reduce((sum, m) => sum + m.length * thin.blockBytes, 0);
  if (whole && thin.freeBytes < size - mapped) {
    throw new StorageError(
      "limit",
      `the thin pool ${printable(pool)} has no room for all of ${name}, which would be written`,
      {
        layer: "lvm",
        hint: "other guests could not write any more: make room first (lvextend)",
      },
    );
  }
  return `${path} is a thin volume: what its guest discarded, and what removed snapshots had of it, lies in the free blocks of the pool ${pool} as it was`;
}

function refuseShared(name: string, thin: ThinStanding, others: readonly string[], pool: string): void {
  const { shared, blockBytes } = thin;
  if (shared === 0) {
    refuseMoving(name, thin, pool);
    return;
  }
  const mib = Math.ceil((shared * blockBytes) / 2 ** 20);
  const who = others.length === 0 ? "" : ` (it has ${others.map(printable).join(", ")})`;
  throw new StorageError(
    "locked",
    `${name} shares ${mib} MiB with other volumes of the thin pool ${printable(pool)}${who}: what is written goes to new blocks, and the old ones keep what it held`,
    {
      layer: "lvm",
      hint: "remove the volumes that were made as snapshots of it, or of which it is one, if they may be lost",
    },
  );
}

/** Of snapshots that are removed, too. */
function refuseMoving(name: string, { mappings, blockBytes }: ThinStanding, pool: string): void {
  const moving = mappings.reduce((sum, m) => sum + (m.moves ? m.length : 0), 0);
  if (moving === 0) return;
  const mib = Math.ceil((moving * blockBytes) / 2 ** 20);
  throw new StorageError(
    "locked",
    `of ${name} a snapshot was made since ${mib} MiB of it were written: the kernel writes to new blocks there, also when the snapshot is removed, and the old ones stay in the thin pool ${printable(pool)} with what they hold`,
    {
      layer: "lvm",
      hint: "no overwriting of the volume reaches them: they are gone when the pool's own disks are overwritten, or its free blocks are (a volume that fills the pool)",
    },
  );
}

/** What of a thin volume is to be overwritten, or null: the device is none. */
export interface ThinBlocks {
  readonly ranges: readonly { readonly offset: number; readonly length: number }[];
  /** Of where each block lies in the pool: it changes when one is given out anew. */
  readonly sha256: string;
}

/** Throws `locked` when others share blocks of it. */
export async function thinBlocks(path: string): Promise<ThinBlocks | null> {
  const device = restsOn(path);
  const thin = device.kind === "lvm" || device.kind === "dm" ? await thinStanding(device.path) : null;
  if (thin === null) return null;
  refuseShared(printable(path), thin, [], "that it lies in");
  const { mappings, blockBytes } = thin;
  const lines = mappings.map(({ origin, data, length }) => `${origin} ${data} ${length}\n`);
  return {
    ranges: mappings.map(({ origin, length }) => ({ offset: origin * blockBytes, length: length * blockBytes })),
    sha256: createHash("sha256").update(lines.join("")).digest("hex"),
  };
}
