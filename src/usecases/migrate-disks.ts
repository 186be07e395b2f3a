import { existsSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import type { MigratedDisk } from "../host/migration-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import type { TreeNode } from "../stack/tree.ts";
import { sourceDevice } from "./convert.ts";
import { disksOf } from "./guest-sources.ts";
import type { Guest } from "./guests.ts";
import type { NewLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";
import { openForInspection } from "./open-for-reading.ts";
import { isNbd } from "./source-names.ts";

/** A disk as its guest sees it. */
export interface SeenDisk {
  /** `vda` */
  readonly disk: string;
  /** Bytes. */
  readonly size: number;
  readonly source: MigratedDisk | null;
  /** Bytes of the sectors in which its partition table counts; null: it has none. */
  readonly tableSector: number | null;
  /** What is looked for at its very end: the copy of a partition table, or the superblock of a RAID member. */
  readonly atEnd: "gpt" | "md" | null;
}

/** A disk that stays where it is: both guests have it then. */
export interface StayingDisk {
  readonly disk: string;
  /** Why, for a person. */
  readonly why: string;
}

/** The disks of a guest that are moved, in its order, and those that are not. `only`: these (`vda`); default: all that it can write to. */
export function disksToMove(
  guest: Guest,
  only: readonly string[] | undefined,
): { readonly moved: readonly DomainDisk[]; readonly stays: readonly StayingDisk[] } {
  const no = (what: string, hint?: string) =>
    new StorageError("usage", `the guest ${printable(guest.name)} is not migrated: ${what}`, {
      layer: "libvirt",
      hint,
    });
  const disks = guest.domain.disks.filter(
    (d) => (d.device === "disk" || d.device === "lun") && d.place.kind !== "empty",
  );
  const names = disks.map((d) => printable(d.target)).join(", ");
  const unknown = only?.find((name) => !disks.some((d) => d.target === name));
  if (unknown !== undefined) throw no(`it has no disk ${printable(unknown)}`, `there are: ${names}`);
  const stays = disks.flatMap((d) => {
    const why = whyStays(d, only);
    return why === null ? [] : [{ disk: d.target, why }];
  });
  const moved = disks.filter((d) => !stays.some((s) => s.disk === d.target));
  if (moved.length === 0)
    throw no("it has no disk that could be moved", stays.map((s) => `${printable(s.disk)}: ${s.why}`).join("; "));
  for (const { target, shareable, encryption, format } of moved) {
    const others = moved.filter((m) => m.target !== target).map((m) => `--disk ${m.target}`);
    const without = others.length === 0 ? undefined : `without it: ${others.join(" ")}`;
    if (shareable) throw no(`other guests may write to its disk ${target} too (<shareable/>)`, without);
    if (encryption !== null && format === "raw") throw no(`its disk ${target} is encrypted by QEMU already`, without);
  }
  return { moved, stays };
}

function whyStays(disk: DomainDisk, only: readonly string[] | undefined): string | null {
  const { place, optional, target, readOnly } = disk;
  if (only !== undefined && !only.includes(target)) return "it was not named by --disk";
  if (only !== undefined) return null;
  if (readOnly) return "the guest only reads it";
  return optional && place.kind === "file" && !existsSync(place.path) ? "it is not there" : null;
}

/** Looks at a disk through its layers. */
export async function lookAt(guest: Guest, disk: string, options: MigrateOptions): Promise<SeenDisk> {
  const { sourceKeys: keys, limits, signal } = options;
  const connect = guest.uri ?? undefined;
  const sources = [`vm:${guest.uuid}`];
  await using opened = await openForInspection({ sources, guestDisks: [disk], connect, keys, limits, signal });
  const { size } = sourceDevice(opened.stack, undefined);
  const locked = opened.stack.tree.volumes.find((v) => v.kind === "locked");
  // Known now rather than when all of it is copied.
  if (locked !== undefined) {
    throw new StorageError(
      "key",
      `the guest ${printable(guest.name)} is not migrated: none of the keys opens ${printable(locked.selector)} on its disk ${printable(disk)}, which it has encrypted itself, so that its copy could not be checked`,
      { layer: "luks", hint: "--key-file FILE gives the key of LUKS inside the guest" },
    );
  }
  const source = await placeOf(guest, disk, options);
  const [root] = opened.stack.tree.roots;
  return { disk, size, source, tableSector: tableSectorOf(root!), atEnd: atEndOf(root!) };
}

/** A disk that is no file or device of this host cannot be destroyed here later. */
async function placeOf(guest: Guest, disk: string, options: MigrateOptions): Promise<MigratedDisk | null> {
  const { sourceKeys: keys, signal } = options;
  const found = (await disksOf(guest, { sources: [], guestDisks: [disk], keys, signal }))[0];
  if (!found || isNbd(found.name)) return null;
  return { path: found.name, format: found.declared.format, identity: sourceIdentity(found.name) };
}

/** What spans disks and lacks one, by the findings of its layer. */
const INCOMPLETE = ["lvm-pv-missing", "md-member-missing"];

/** Throws `usage` when a volume group or array lies on disks that are moved and on others: the copies alone would not be whole. */
export async function refuseSplit(guest: Guest, moved: readonly DomainDisk[], options: MigrateOptions): Promise<void> {
  const { sourceKeys: keys, limits, signal } = options;
  const guestDisks = moved.map((d) => d.target);
  const connect = guest.uri ?? undefined;
  await using opened = await openForInspection({
    sources: [`vm:${guest.uuid}`],
    guestDisks,
    connect,
    keys,
    limits,
    signal,
  });
  const split = opened.stack.tree.groups.find((g) => g.findings.some((f) => INCOMPLETE.includes(f.code)));
  if (split === undefined) return;
  throw new StorageError(
    "usage",
    `the guest ${printable(guest.name)} is not migrated: ${printable(split.selector ?? split.id)} lies on more disks than ${guestDisks.map(printable).join(", ")}`,
    { layer: "libvirt", hint: "move all disks that it lies on together" },
  );
}

/** md(4): the superblocks of 0.90 and 1.0 lie at the end of a member. */
function atEndOf(node: TreeNode): SeenDisk["atEnd"] {
  for (const child of node.children) {
    if (child.kind === "gpt") return "gpt";
    if (child.kind === "md-member") return /^(0\.90|1\.0)\b/.test(String(child.details.version)) ? "md" : null;
    if (child.kind === "raw" || child.content) return atEndOf(child);
  }
  return null;
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
