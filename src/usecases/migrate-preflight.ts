import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type MigrationPlan, newMigrationId } from "../host/migration-store.ts";
import { virsh } from "../tools/virsh.ts";
import { findGuest, listGuests, refuseUnlessOff } from "./guests.ts";
import type { NewLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";
import { disksToMove, lookAt, refuseSplit, type SeenDisk, sectorSizeFor } from "./migrate-disks.ts";
import { refuseGuestName, refuseMappedNames } from "./migrate-names.ts";
import { targetsFor } from "./migrate-targets.ts";
import { containerSize } from "./new-luks-target.ts";

export interface Preflight {
  readonly plan: MigrationPlan;
  /** What a person should know of this guest before. */
  readonly notes: readonly string[];
}

/** Looks at everything that a migration needs, and changes nothing. Throws by name what stands in the way. */
export async function preflight(name: string, luks: NewLuks, options: MigrateOptions): Promise<Preflight> {
  const guest = await findGuest(name, options);
  const shown = printable(guest.name);
  const no = (what: string, hint?: string) =>
    new StorageError("usage", `the guest ${shown} is not migrated: ${what}`, { layer: "libvirt", hint });
  if (!guest.persistent) throw no("it is transient, libvirt would forget it", "virsh define keeps it");
  if (guest.domain.guard !== null)
    throw no("it belongs to a migration already", "unterbau migrate --list shows which; --resume, or --rollback");
  refuseUnlessOff(guest);
  if (guest.managedSave) {
    throw no(
      "its memory is saved, and knows the disk as it is now",
      `start it and shut it down, or give its memory up: virsh managedsave-remove ${guest.uuid}`,
    );
  }
  const ask = (command: string, ...more: string[]) =>
    virsh([command, `--domain=${guest.uuid}`, ...more], { uri: guest.uri, readOnly: true, signal: options.signal });
  const snapshots = (await ask("snapshot-list", "--name")).split("\n").filter((line) => line.trim() !== "");
  if (snapshots.length > 0) {
    throw no(
      `it has snapshots, which would be lost: ${snapshots.slice(0, 5).map(printable).join(", ")}`,
      "delete them first (virsh snapshot-delete)",
    );
  }
  const seen: SeenDisk[] = [];
  const { moved, stays } = disksToMove(guest, options.disks);
  for (const { target } of moved) seen.push(await lookAt(guest, target, options));
  const cloneName = options.replace ? guest.name : (options.newName ?? `${guest.name}-luks`);
  const oldName = options.replace ? `${guest.name}-plain` : null;
  refuseGuestName(cloneName);
  await refuseTaken(oldName ?? cloneName, options);
  const recoveryKeys = seen.map(({ disk }) => recoveryKeyFor(disk, seen.length > 1, luks));
  refuseOneOnly(seen.length, luks);
  const id = newMigrationId();
  const made = seen.map((disk) => ({ ...luks.parameters, sectorSize: sectorSizeFor(disk, luks, options.sectorSize) }));
  const wanted = seen.map((disk, i) => ({ ...disk, needed: containerSize(disk.size, made[i]!) }));
  const placed = await targetsFor(wanted, guest, id, options);
  const longer = seen.map((disk, i) => ({ ...disk, more: placed[i]!.size - wanted[i]!.needed }));
  const lost = longer.find(({ atEnd, more }) => atEnd === "md" && more > 0);
  if (lost !== undefined) {
    throw no(
      `its disk ${lost.disk} is a member of a RAID array whose superblock is looked for at the end, and the copy would be ${lost.more} bytes longer`,
      "a place of exactly the size: --to-file PATH",
    );
  }
  if (stays.length > 0) await refuseSplit(guest, moved, options);
  const clone = { name: cloneName, uuid: randomUUID() };
  const info = await ask("dominfo");
  const { nvram } = guest.domain;
  const xml = await ask("dumpxml");
  const plan: MigrationPlan = {
    id,
    guest: { name: guest.name, uuid: guest.uuid, uri: guest.uri },
    autostart: /^Autostart: *enable/m.test(info),
    disks: seen.map(({ disk, size, source }, i) => {
      const { target } = placed[i]!;
      const byQemu = target.kind === "file" || options.libvirtLuks;
      return {
        disk,
        size,
        source,
        target,
        opened: byQemu
          ? { by: "qemu", secret: randomUUID() }
          : { by: "host", mapped: `/dev/mapper/${options.mapped ?? clone.name}${i === 0 ? "" : `-${disk}`}` },
        parameters: made[i]!,
        recoveryKey: recoveryKeys[i]!,
      };
    }),
    stays,
    discard: options.discard,
    secondKey: false,
    clone,
    oldName,
    nvram:
      nvram !== null && existsSync(nvram)
        ? { from: nvram, to: join(dirname(nvram), `${clone.uuid}_${basename(nvram)}`) }
        : null,
    repair: options.repair,
  };
  const { guests } = await listGuests(options);
  refuseMappedNames(
    plan.disks,
    guests.map((g) => g.uuid),
  );
  return { plan, notes: [...notesOf(xml, plan), ...longer.flatMap(noteOfEnd)] };
}

/** UEFI 2.10, 5.3.2: the copy of a GPT lies in the last sectors. */
function noteOfEnd({
  disk,
  atEnd,
  more,
}: {
  readonly disk: string;
  readonly atEnd: string | null;
  readonly more: number;
}): string[] {
  if (atEnd !== "gpt" || more === 0) return [];
  return [
    `the copy of ${disk} is ${more} bytes longer than the disk, so the backup of its partition table is not at the end: Linux starts with it all the same and says so in its log; in the guest, sgdisk --move-second-header DISK puts it there`,
  ];
}

/** What becomes of TRIM in the guest. */
function discardNote(disks: MigrationPlan["disks"], discard: boolean): string {
  if (disks.every((d) => d.opened.by === "qemu"))
    return "what the guest discards is not passed on: QEMU's LUKS drops it";
  return discard
    ? "what the guest discards is passed on to the medium, where it shows what is free: the host has to open the volume with that, too (discard in its line of /etc/crypttab)"
    : "what the guest discards is not passed on; --allow-discards does it, and shows whoever sees the medium what is free";
}

/** Each container has a recovery key of its own: of several disks each gets a file. Throws `usage` for a file that is there. */
function recoveryKeyFor(disk: string, several: boolean, { recoveryKey }: NewLuks): NewLuks["recoveryKey"] {
  if (recoveryKey === null || recoveryKey === "show") return recoveryKey;
  const file = several ? `${recoveryKey.file}.${disk}` : recoveryKey.file;
  if (existsSync(file))
    throw new StorageError("usage", `${file} is there already`, { hint: "a recovery key goes into a new file" });
  return { file };
}

/** What names one container must not name two. */
function refuseOneOnly(disks: number, { parameters }: NewLuks): void {
  const given = parameters.uuid !== null ? "--uuid" : parameters.label !== null ? "--label" : null;
  if (disks === 1 || given === null) return;
  throw new StorageError("usage", `${given} is for one container, and ${disks} disks are moved`, {
    hint: "leave it out, or move one disk at a time: --disk DISK",
  });
}

async function refuseTaken(name: string, options: MigrateOptions): Promise<void> {
  const { guests } = await listGuests(options);
  if (!guests.some((g) => g.name === name)) return;
  throw new StorageError("usage", `there is a guest ${printable(name)} already`, {
    layer: "libvirt",
    hint: "another name for the copy: --name NAME",
  });
}

function notesOf(xml: string, { disks, stays, clone, discard }: MigrationPlan): string[] {
  const notes = stays.map(
    ({ disk, why }) =>
      `${disk} is not moved (${why}): it stays where it is, as it is, and ${clone.name} uses it too; what is not encrypted there remains so`,
  );
  for (const { target, parameters, size, disk } of disks) {
    const needed = containerSize(size, parameters);
    const volume = target.kind === "device" ? target.volume : null;
    const takes = volume === null ? `${needed} bytes` : `${needed} bytes in ${volume.extents} extents`;
    notes.push(`the copy of ${disk} takes ${takes}, encrypted in sectors of ${parameters.sectorSize}`);
  }
  notes.push("the guest boots with the boot loader on its own disk; its bus and addresses there stay the same");
  notes.push(discardNote(disks, discard));
  if (/<tpm[\s>]/.test(xml))
    notes.push(
      "the guest has a TPM: an emulated one is bound to the old guest, and keys sealed in it do not open here",
    );
  if (/<kernel>/.test(xml)) notes.push("the guest is started with a kernel of the host's (<kernel>), which stays so");
  for (const { opened, target } of disks)
    if (opened.by === "host")
      notes.push(
        `the host opens it before each start: unterbau unlock vm:${clone.name} (cryptsetup open ${target.path} ${basename(opened.mapped)})`,
      );
  if (disks.some((d) => d.opened.by === "qemu"))
    notes.push(
      `libvirt keeps the passphrase in memory only: after its restart it wants it again (unterbau unlock vm:${clone.name})`,
    );
  return notes;
}
