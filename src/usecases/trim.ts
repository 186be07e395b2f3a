import { realpathSync, statSync } from "node:fs";
import { printable } from "../bytes/text.ts";
import { describeError, StorageError } from "../core/errors.ts";
import type { KeyProvider } from "../core/layer.ts";
import { discardFacts } from "../host/discard.ts";
import { thisHost } from "../host/host-view.ts";
import { restsOn } from "../host/rests-on.ts";
import type { DomainDisk } from "../libvirt/domain.ts";
import { describePlace } from "../libvirt/place.ts";
import { findProgram } from "../tools/find.ts";
import { unitStates } from "../tools/systemctl.ts";
import { virsh } from "../tools/virsh.ts";
import { pathOf } from "./guest-sources.ts";
import { findGuest, type Guest, type GuestOptions } from "./guests.ts";
import { openLiveView, recoverLiveViews } from "./live-view.ts";
import type { TrimExplainDocument, TrimLinkDocument, TrimRunDocument } from "./trim-documents.ts";
import { mountsInside } from "./trim-inside.ts";
import { deviceLinks, driveLinks, hostFileLinks, stopsAt } from "./trim-links.ts";

export interface TrimOptions extends GuestOptions {
  readonly guest: string;
  readonly note?: ((text: string) => void) | undefined;
}

export interface ExplainOptions extends TrimOptions {
  readonly keys: KeyProvider;
  /** Look into a running guest as `check --live` does. */
  readonly live: boolean;
}

/** A guest's discards take minutes on a slow disk. */
const TRIM_TIMEOUT_MS = 60 * 60_000;

/** Follows TRIM from the guest's mounts down to the disks. Only looks. */
export async function explainTrim(options: ExplainOptions): Promise<TrimExplainDocument> {
  const guest = await findGuest(options.guest, options);
  const timer = await hostTimer();
  const disks: TrimExplainDocument["disks"][number][] = [];
  for (const disk of guest.domain.disks) {
    if ((disk.device !== "disk" && disk.device !== "lun") || disk.place.kind === "empty") continue;
    const links = [
      ...driveLinks(guest.name, guest.domain.machine, disk),
      ...(await placeLinks(disk, guest, timer, options)),
    ];
    disks.push({ target: disk.target, place: describePlace(disk.place), links, stopsAt: stopsAt(links) });
  }
  const inside = await insideOf(guest, options);
  return {
    schema: "unterbau/trim-explain/1",
    guest: guest.name,
    uuid: guest.uuid,
    state: guest.state,
    inside,
    disks,
    exitCode: disks.every((d) => d.stopsAt === null) ? 0 : 1,
  };
}

async function insideOf(guest: Guest, options: ExplainOptions): Promise<TrimExplainDocument["inside"]> {
  const { keys, signal, note, connect } = options;
  if (guest.state === "shut off") return mountsInside({ sources: [`vm:${guest.uuid}`], keys, signal, note, connect });
  if (!options.live) return { reason: `it is ${guest.state}; --live looks into it all the same`, mounts: [] };
  for (const line of await recoverLiveViews()) note?.(line);
  await using view = await openLiveView(guest, { quiesce: false, signal, note });
  return await mountsInside({ sources: view.sources, keys, signal, note });
}

async function placeLinks(
  disk: DomainDisk,
  guest: Guest,
  timer: boolean | null,
  options: TrimOptions,
): Promise<TrimLinkDocument[]> {
  const unknown = (why: string): TrimLinkDocument[] => [
    { layer: "place", name: describePlace(disk.place), passes: null, why, turnOn: [], givesAway: null },
  ];
  const mounted = thisHost().mounted;
  const fileLinks = (path: string) => {
    const number = statSync(path).dev;
    const major = Math.floor(number / 256) % 4096;
    const minor = (number % 256) + Math.floor(number / 2 ** 20) * 256;
    const own = mounted.findLast((m) => m.number === `${major}:${minor}`);
    return hostFileLinks(own ?? null, timer);
  };
  try {
    const place = await pathOf(disk.place, guest, options);
    if (place.kind !== "file" && place.kind !== "block") return unknown("it is not on this host");
    const path = realpathSync(place.path);
    const top = statSync(path).isBlockDevice() ? [] : fileLinks(path);
    return [...top, ...deviceLinks(restsOn(path), discardFacts, fileLinks)];
  } catch (error) {
    if (error instanceof StorageError && error.code === "cancelled") throw error;
    return unknown(`it cannot be looked at: ${describeError(error)}`);
  }
}

/** Null where no systemd tells. */
async function hostTimer(): Promise<boolean | null> {
  if (findProgram("systemctl") === null) return null;
  return (await unitStates(["fstrim.timer"], "/"))[0] === "enabled";
}

/** Has the guest's agent trim all of its mounted file systems, and tells what became of it on the host. */
export async function runTrim(options: TrimOptions): Promise<TrimRunDocument> {
  const guest = await findGuest(options.guest, options);
  const name = printable(guest.name);
  if (guest.state === "shut off") {
    throw new StorageError("usage", `the guest ${name} is shut off: its agent does the work`, {
      layer: "libvirt",
      hint: `virsh start ${name}, or unterbau unlock vm:${name} --start`,
    });
  }
  const before = await allocated(guest, options);
  options.note?.(`the agent of ${name} trims its file systems`);
  try {
    await virsh(["domfstrim", `--domain=${guest.uuid}`], {
      uri: guest.uri,
      timeoutMs: TRIM_TIMEOUT_MS,
      signal: options.signal,
    });
  } catch (error) {
    if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
    throw new StorageError("io", `the guest ${name} did not trim: ${describeError(error)}`, {
      layer: "libvirt",
      hint: "the QEMU guest agent must run in it, with a channel org.qemu.guest_agent.0 in its XML; unterbau trim explain shows the rest of the way",
      cause: error,
    });
  }
  const after = await allocated(guest, options);
  const dropped = guest.domain.disks.filter((d) => d.device === "disk" && d.discard !== "unmap");
  return {
    schema: "unterbau/trim-run/1",
    guest: guest.name,
    uuid: guest.uuid,
    disks: before.map(({ target, bytes }, i) => ({
      target,
      allocatedBefore: bytes,
      allocatedAfter: after[i]?.bytes ?? null,
    })),
    remarks: dropped.map(
      (d) => `disk ${d.target}: QEMU drops it (no discard='unmap'): unterbau trim explain vm:${guest.name}`,
    ),
  };
}

async function allocated(guest: Guest, options: TrimOptions): Promise<{ target: string; bytes: number | null }[]> {
  const found: { target: string; bytes: number | null }[] = [];
  for (const disk of guest.domain.disks) {
    if (disk.device !== "disk" && disk.device !== "lun") continue;
    const place = await pathOf(disk.place, guest, options).catch(() => null);
    const stat = place?.kind === "file" ? statSync(place.path, { throwIfNoEntry: false }) : undefined;
    found.push({ target: disk.target, bytes: stat?.isFile() ? stat.blocks * 512 : null });
  }
  return found;
}
