import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import type { TreeNode } from "../stack/tree.ts";
import { sourceDevice } from "./convert.ts";
import type { Guest } from "./guests.ts";
import type { NewLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";
import { openForInspection } from "./sources.ts";

/** A disk as its guest sees it. */
export interface SeenDisk {
  /** `vda` */
  readonly disk: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes of the sectors in which its partition table counts; null: it has none. */
  readonly tableSector: number | null;
}

/** The disks of a guest that are moved. */
export function disksToMove(guest: Guest): DomainDisk[] {
  const shown = printable(guest.name);
  const disks = guest.domain.disks.filter(
    (d) => (d.device === "disk" || d.device === "lun") && d.place.kind !== "empty",
  );
  if (disks.length === 0)
    throw new StorageError("usage", `the guest ${shown} is not migrated: it has no disk`, { layer: "libvirt" });
  if (disks.length > 1) {
    throw new StorageError("unsupported", `the guest ${shown} has ${disks.length} disks`, {
      layer: "libvirt",
      feature: "migrating guests of several disks",
      hint: "encrypt each with convert --to-luks, and change its XML (virsh edit)",
    });
  }
  return disks;
}

/** Looks at a disk through its layers. */
export async function lookAt(guest: Guest, disk: string, options: MigrateOptions): Promise<SeenDisk> {
  const { sourceKeys: keys, limits, signal } = options;
  const connect = guest.uri ?? undefined;
  const sources = [`vm:${guest.uuid}`];
  await using opened = await openForInspection({ sources, guestDisks: [disk], connect, keys, limits, signal });
  const { size } = sourceDevice(opened.stack, undefined);
  return { disk, size, tableSector: tableSectorOf(opened.stack.tree.roots[0]!) };
}

/** Only a table on the disk itself counts: what lies in a partition is counted by its own. */
function tableSectorOf(node: TreeNode): number | null {
  for (const child of node.children) {
    if (child.kind === "gpt" || child.kind === "mbr") return Number(child.details.sectorSize);
    if (child.kind === "raw" || child.content) return tableSectorOf(child);
  }
  return null;
}

/**
 * Bytes of the container's sectors. dm-crypt shows them to who opens it, so they may not be larger than those in which the guest's table
 * counts, or a guest that is given the device finds its partitions elsewhere. Throws `usage` when larger ones were wished for.
 */
export function sectorSizeFor(
  { disk, size, tableSector }: SeenDisk,
  luks: NewLuks,
  wished: number | undefined,
): number {
  const most = tableSector ?? 512;
  const usual = most === 4096 && size % 4096 === 0 && luks.parameters.version === 2 ? 4096 : 512;
  if (wished === undefined || wished <= usual) return wished ?? usual;
  if (wished <= most && size % wished === 0) return wished;
  const why =
    tableSector === null
      ? "has no partition table that counts in such"
      : wished > most
        ? `has a partition table that counts in sectors of ${tableSector}`
        : `has ${size} bytes`;
  throw new StorageError("usage", `the container of ${disk} gets no sectors of ${wished} bytes: the disk ${why}`, {
    layer: "luks",
    hint: luks.policy.file === null ? "--sector-size 512" : `--sector-size 512 (${luks.policy.file} may say otherwise)`,
  });
}
