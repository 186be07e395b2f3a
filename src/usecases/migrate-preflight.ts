import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { alignUp } from "../bytes/integers.ts";
import { printable } from "../bytes/text.ts";
import { StorageError } from "../core/errors.ts";
import { type MigrationPlan, newMigrationId } from "../host/migration-store.ts";
import { sourceIdentity } from "../host/source-identity.ts";
import { virsh } from "../tools/virsh.ts";
import { sourceDevice } from "./convert.ts";
import { contentOfDevice } from "./device-content.ts";
import { findGuest, type Guest, listGuests, refuseUnlessOff } from "./guests.ts";
import type { NewLuks } from "./luks-format.ts";
import type { MigrateOptions } from "./migrate.ts";
import { containerSize, refuseFull } from "./new-luks-target.ts";
import { openForInspection } from "./sources.ts";

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
  const disks = guest.domain.disks.filter(
    (d) => (d.device === "disk" || d.device === "lun") && d.place.kind !== "empty",
  );
  const [disk, ...others] = disks;
  if (!disk) throw no("it has no disk");
  if (others.length > 0) {
    throw new StorageError("unsupported", `the guest ${shown} has ${disks.length} disks`, {
      layer: "libvirt",
      feature: "migrating guests of several disks",
      hint: "encrypt each with convert --to-luks, and change its XML (virsh edit)",
    });
  }
  const size = await sizeOf(guest, options);
  const cloneName = options.replace ? guest.name : (options.newName ?? `${guest.name}-luks`);
  const oldName = options.replace ? `${guest.name}-plain` : null;
  await refuseTaken(oldName ?? cloneName, options);
  const target = targetOf(options);
  const { recoveryKey } = luks;
  if (recoveryKey !== null && recoveryKey !== "show" && existsSync(recoveryKey.file)) {
    throw new StorageError("usage", `${recoveryKey.file} is there already`, {
      hint: "a recovery key goes into a new file",
    });
  }
  await refuseTarget(target, size, luks, guest, options);
  const clone = { name: cloneName, uuid: randomUUID() };
  const info = await ask("dominfo");
  const { nvram } = guest.domain;
  const xml = await ask("dumpxml");
  const byQemu = target.kind === "file" || options.libvirtLuks;
  const mapped = `/dev/mapper/${options.mapped ?? clone.name}`;
  const plan: MigrationPlan = {
    id: newMigrationId(),
    guest: { name: guest.name, uuid: guest.uuid, uri: guest.uri },
    autostart: /^Autostart: *enable/m.test(info),
    disk: disk.target,
    target,
    opened: byQemu ? { by: "qemu", secret: randomUUID() } : { by: "host", mapped },
    discard: options.discard,
    parameters: luks.parameters,
    recoveryKey: luks.recoveryKey,
    secondKey: false,
    size,
    clone,
    oldName,
    nvram:
      nvram !== null && existsSync(nvram)
        ? { from: nvram, to: join(dirname(nvram), `${clone.uuid}_${basename(nvram)}`) }
        : null,
    repair: options.repair,
  };
  return { plan, notes: notesOf(xml, plan) };
}

async function sizeOf(guest: Guest, options: MigrateOptions): Promise<number> {
  const source = { sources: [`vm:${guest.uuid}`], connect: guest.uri ?? undefined, keys: options.sourceKeys };
  await using opened = await openForInspection({ ...source, limits: options.limits, signal: options.signal });
  return sourceDevice(opened.stack, undefined).size;
}

async function refuseTaken(name: string, options: MigrateOptions): Promise<void> {
  const { guests } = await listGuests(options);
  if (!guests.some((g) => g.name === name)) return;
  throw new StorageError("usage", `there is a guest ${printable(name)} already`, {
    layer: "libvirt",
    hint: "another name for the copy: --name NAME",
  });
}

function targetOf({ toFile, toDevice }: MigrateOptions): MigrationPlan["target"] {
  if (toFile !== undefined) return { kind: "file", path: resolve(toFile) };
  if (toDevice !== undefined) return { kind: "device", path: resolve(toDevice) };
  throw new StorageError("usage", "no target is named", { hint: "--to-file PATH or --to-device DEVICE" });
}

async function refuseTarget(
  { kind, path }: MigrationPlan["target"],
  size: number,
  luks: NewLuks,
  guest: Guest,
  options: MigrateOptions,
): Promise<void> {
  const needed = containerSize(size, luks);
  if (kind === "file") {
    if (existsSync(path)) throw new StorageError("usage", `${path} is there already`, { hint: "choose another name" });
    return refuseFull(path, needed);
  }
  const identity = sourceIdentity(path);
  if (identity.kind !== "blockdev") {
    throw new StorageError("usage", `${path} is no block device`, { hint: "for a new file: --to-file PATH" });
  }
  const own = guest.domain.disks.flatMap((d) => ("path" in d.place ? [d.place.path] : []));
  if (own.some((p) => existsSync(p) && sourceIdentity(p).realpath === identity.realpath))
    throw new StorageError("usage", `${path} is the guest's own disk`, { hint: "the copy needs a place of its own" });
  if (identity.size < needed) {
    throw new StorageError("usage", `${path} has ${identity.size} bytes; ${needed} are needed`, {
      layer: "file",
      hint: `the guest's disk has ${size}, the header takes ${luks.parameters.dataOffset}`,
    });
  }
  const what = await contentOfDevice(path);
  if (what !== null && !options.overwrite) {
    throw new StorageError("usage", `${path} is not empty: it holds ${what}`, {
      hint: "if that may be lost: --overwrite",
    });
  }
}

function notesOf(xml: string, { parameters, opened, size, target }: MigrationPlan): string[] {
  const notes = [
    `the copy takes ${parameters.dataOffset + alignUp(size, parameters.sectorSize)} bytes`,
    "the guest boots with the boot loader on its own disk; its bus and addresses there stay the same",
  ];
  if (/<tpm[\s>]/.test(xml))
    notes.push(
      "the guest has a TPM: an emulated one is bound to the old guest, and keys sealed in it do not open here",
    );
  if (/<kernel>/.test(xml)) notes.push("the guest is started with a kernel of the host's (<kernel>), which stays so");
  if (opened.by === "host")
    notes.push(`the host opens it before each start: cryptsetup open ${target.path} ${basename(opened.mapped)}`);
  else
    notes.push(
      "libvirt keeps the passphrase in memory only: after its restart it wants it again (virsh secret-list, virsh secret-set-value)",
    );
  return notes;
}
