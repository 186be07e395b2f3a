import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  mkdtempSync,
  readFileSync,
  realpathSync,
  statfsSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { StorageError } from "../core/errors.ts";
import { type HostDevice, isEncrypted, restsOn } from "./rests-on.ts";

/** Memory file systems that every Linux host has; the user's own comes first, as others cannot fill it. */
const PLACES = [`/run/user/${process.getuid?.() ?? 0}`, "/dev/shm", "/run"];
/** As much stays free, so that a guest's writes never meet a full file system. */
const RESERVE_SHARE = 0.1;
const RESERVE_BYTES = 16 * 1024 * 1024;
/** With less room than this the view of a busy guest would break off at once. */
const ROOM_BYTES = 256 * 1024 * 1024;

/** Free bytes that may be used in the folder's file system: what is below zero has to be given back. */
export function roomIn(folder: string): number {
  const { bavail, blocks, bsize } = statfsSync(folder);
  return bavail * bsize - Math.max(RESERVE_BYTES, blocks * bsize * RESERVE_SHARE);
}

export interface ScratchOptions {
  /** The folder that the user named. */
  readonly folder?: string | undefined;
  /** Bytes of all disks: more is never needed. */
  readonly size: number;
  /** Who must be able to write in it: the user as whom QEMU runs. */
  readonly owner: { readonly uid: number; readonly gid: number };
}

/**
 * Makes a private folder for what a guest overwrites while it is looked at. Only in memory or on encrypted storage: these are the guest's
 * own bytes, in the clear. Throws `unsupported` when there is no such place, with what is wrong with each.
 */
export function makeScratch({ folder, size, owner }: ScratchOptions): string {
  const need = Math.min(size, ROOM_BYTES);
  const reasons: string[] = [];
  for (const place of folder === undefined ? PLACES : [folder]) {
    const reason = unfit(place, need, owner);
    if (reason !== null) {
      reasons.push(`${place} ${reason}`);
      continue;
    }
    const made = mkdtempSync(join(place, "unterbau-live-"));
    chmodSync(made, 0o700);
    if (process.getuid?.() === 0) chownSync(made, owner.uid, owner.gid);
    return made;
  }
  throw new StorageError(
    "unsupported",
    `there is no place for what the guest overwrites meanwhile: ${reasons.join("; ")}`,
    {
      layer: "libvirt",
      feature: "scratch file outside encrypted storage",
      hint: "name a folder on a tmpfs or on encrypted storage with --scratch DIR",
    },
  );
}

function unfit(place: string, need: number, owner: ScratchOptions["owner"]): string | null {
  try {
    accessSync(place, constants.W_OK | constants.X_OK);
    if (!mayPass(realpathSync(place), owner)) return `cannot be entered by the user as whom QEMU runs (${owner.uid})`;
    const device = restsOn(place);
    const memory = device.kind === "memory";
    if (!memory && !isEncrypted(device)) return "is not encrypted";
    const swap = memory ? plainSwap() : null;
    if (swap !== null) return `may be swapped out to ${swap}, which is not encrypted`;
    const room = roomIn(place);
    return room < need ? `has room for ${Math.max(0, Math.floor(room / 2 ** 20))} MiB only` : null;
  } catch {
    return "cannot be used";
  }
}

/** Whether this user may go through a folder and all above it: /run/user/0 is root's alone. Other groups of the user's are not known. */
function mayPass(folder: string, { uid, gid }: ScratchOptions["owner"]): boolean {
  if (uid === 0) return true;
  for (let at = folder; ; at = dirname(at)) {
    const stat = statSync(at);
    const bit = stat.uid === uid ? constants.S_IXUSR : stat.gid === gid ? constants.S_IXGRP : constants.S_IXOTH;
    if ((stat.mode & bit) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

/** A swap space in use that does not lie in memory or on dm-crypt, or null. proc_swaps(5). */
export function plainSwap(list: () => string = () => readFileSync("/proc/swaps", "utf8")): string | null {
  const paths = list()
    .split("\n")
    .slice(1)
    .flatMap((line) => line.split(/\s/)[0] || [])
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
    );
  return paths.find((path) => !isSafe(path)) ?? null;
}

function isSafe(path: string): boolean {
  let device: HostDevice;
  try {
    device = restsOn(path);
  } catch {
    return false;
  }
  return device.kind === "memory" || isEncrypted(device);
}
