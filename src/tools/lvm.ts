import type { Writable } from "node:stream";
import { StorageError } from "../core/errors.ts";
import { findProgram } from "./find.ts";
import { runLimited } from "./limited.ts";

/** A logical volume of this host. */
export interface LogicalVolume {
  readonly group: string;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Of its segments. */
  readonly types: readonly string[];
  /** Paths of the physical volumes that it lies on. */
  readonly devices: readonly string[];
}

/** Also while a group is busy LVM answers within seconds. */
const LIMIT_MS = 60_000;
/** By this tag what is ours is known, and nothing else is ever removed. */
const TAG = "unterbau";

/** Runs one command of lvm(8). Throws `io` with its own reason, `unsupported` when it is not there. */
async function lvm(command: string, ...args: string[]): Promise<string> {
  return runLvm(command, args);
}

async function runLvm(command: string, args: readonly string[], hold: Writable | null = null): Promise<string> {
  const path = findProgram(command);
  if (path === null) {
    throw new StorageError("unsupported", `${command} is not installed`, {
      layer: "lvm",
      feature: command,
      hint: "install the package lvm2",
    });
  }
  const env = { ...process.env, LC_ALL: "C", LVM_SUPPRESS_FD_WARNINGS: "1" };
  const { code, output, errors } = await runLimited(path, args, env, { limitMs: LIMIT_MS, hold });
  if (code === 0) return output;
  const reason =
    errors
      .trim()
      .split(/\s*\n\s*/)
      .join("; ") || `it ended with ${code ?? "a signal"}`;
  throw new StorageError("io", `${command}: ${reason}`, { layer: "lvm" });
}

/** The rows of a report, values as text; sizes in bytes. */
async function report(
  command: "lvs" | "pvs" | "vgs",
  columns: string,
  ...args: string[]
): Promise<Record<string, string>[]> {
  const format = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns];
  const text = await lvm(command, ...format, ...args);
  const parsed = JSON.parse(text) as { report: { [kind: string]: Record<string, string>[] }[] };
  return parsed.report.flatMap((part) => Object.values(part).flat());
}

/** `path`: /dev/mapper/NAME or /dev/GROUP/NAME. */
export async function logicalVolume(path: string): Promise<LogicalVolume> {
  const rows = await report("lvs", "vg_name,lv_name,lv_size,segtype,devices", "--segments", path);
  const [first] = rows;
  if (first === undefined) throw new StorageError("io", `LVM does not know ${path}`, { layer: "lvm" });
  // `/dev/sda2(0),/dev/sdb(12)`: device and first extent.
  const devices = rows.flatMap((row) => [...(row.devices ?? "").matchAll(/([^,]+)\(\d+\)/g)].map((m) => m[1]!));
  return {
    group: first.vg_name ?? "",
    name: first.lv_name ?? "",
    size: Number(first.lv_size),
    types: [...new Set(rows.map((row) => row.segtype ?? ""))],
    devices: [...new Set(devices)],
  };
}

/** What decides whether bytes of a volume are overwritten where they lie. */
export interface VolumeStanding {
  readonly uuid: string;
  /** Bytes. */
  readonly size: number;
  readonly types: readonly string[];
  /** Names of snapshots of it; they keep what it held. */
  readonly snapshots: readonly string[];
  /** The volume of which it is a snapshot; empty: it is none, or that one is removed. */
  readonly origin: string;
  /** Of a thin volume; else empty. */
  readonly pool: string;
  /** Other volumes in that pool. */
  readonly neighbours: readonly string[];
}

/** `path` as for `logicalVolume`. */
export async function volumeStanding(path: string): Promise<VolumeStanding> {
  const { group, name, size, types } = await logicalVolume(path);
  const rows = await report("lvs", "lv_name,lv_uuid,origin,pool_lv", group);
  const own = rows.find((row) => row.lv_name === name);
  if (own === undefined) throw new StorageError("io", `LVM does not know ${path}`, { layer: "lvm" });
  const snapshots = rows.filter((row) => row.origin === name).map((row) => row.lv_name ?? "");
  const pool = types.includes("thin") ? (own.pool_lv ?? "") : "";
  const neighbours = pool === "" ? [] : rows.filter((row) => row.pool_lv === pool && row !== own);
  return {
    uuid: own.lv_uuid ?? "",
    size,
    types,
    snapshots,
    origin: own.origin ?? "",
    pool,
    neighbours: neighbours.map((row) => row.lv_name ?? ""),
  };
}

/** Bytes that no volume has, on these physical volumes together. */
export async function freeBytes(devices: readonly string[]): Promise<number> {
  const rows = await report("pvs", "pv_name,pv_free", ...devices);
  return rows.reduce((sum, row) => sum + Number(row.pv_free), 0);
}

/**
 * A classic snapshot, for reading, whose copies lie on the volume's own devices: what those encrypt stays encrypted. `hold`: kept open by the
 * program that makes it.
 */
export async function makeSnapshot(
  volume: LogicalVolume,
  name: string,
  size: number,
  hold: Writable | null,
): Promise<void> {
  const options = ["--snapshot", "--name", name, "--size", `${size}b`, "--permission", "r", "--addtag", TAG, "--yes"];
  await runLvm("lvcreate", ["--quiet", ...options, `${volume.group}/${volume.name}`, ...volume.devices], hold);
}

/** More was overwritten than there was room for: nothing that was read is certain. A snapshot that is gone is none either. */
export async function isInvalid(group: string, name: string): Promise<boolean> {
  const [row] = await report("lvs", "lv_attr", `${group}/${name}`).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === "io") return [];
    throw error;
  });
  // lvs(8): the fifth character is the state, I or S for an invalid snapshot.
  return row === undefined || /^.{4}[IS]/.test(row.lv_attr ?? "");
}

/** lvmreport(7): selects a snapshot of ours; what is not there, or not ours, is not touched. */
export function selection(name: string): string {
  return `lv_name="${name}" && lv_tags={"${TAG}"}`;
}

/** Removes a snapshot of ours; nothing happens when it is not there. */
export async function removeSnapshot(group: string, name: string): Promise<void> {
  await lvm("lvremove", "--quiet", "--force", "--yes", "--select", selection(name), group);
}

/** A volume group, as far as making a volume in it goes. */
export interface VolumeGroup {
  readonly name: string;
  /** As LVM writes it, with hyphens. */
  readonly uuid: string;
  /** Bytes. */
  readonly extentSize: number;
  /** Extents that no volume has, on physical volumes where new ones may lie. */
  readonly freeExtents: number;
  /** Names of its volumes, internal ones too. */
  readonly volumes: readonly string[];
  /** Why nothing is made there (exported, a disk is missing, read-only …), or null. */
  readonly unusable: string | null;
}

/** All groups of this name that are to be seen, those of other hosts too. */
export async function volumeGroups(name: string): Promise<VolumeGroup[]> {
  const columns = "vg_name,vg_uuid,vg_extent_size,vg_exported,vg_partial,vg_permissions,vg_missing_pv_count";
  const all = ["--foreign", "--shared"];
  const rows = await report("vgs", `${columns},vg_systemid,vg_shared,vg_clustered`, ...all, "--select", named(name));
  const groups: VolumeGroup[] = [];
  for (const row of rows) {
    const uuid = row.vg_uuid ?? "";
    const ours = await report("vgs", "vg_uuid", "--select", `vg_uuid="${uuid}"`);
    const unusable = ours.length === 0 ? othersReason(row) : reasonOf(row);
    const inside = `vg_uuid="${uuid}"`;
    const disks = unusable !== null ? [] : await report("pvs", PV_COLUMNS, "--select", inside);
    const volumes = unusable !== null ? [] : await report("lvs", "lv_name", "--all", "--select", inside);
    groups.push({
      name: row.vg_name ?? "",
      uuid,
      extentSize: Number(row.vg_extent_size),
      freeExtents: disks.reduce((sum, disk) => sum + freeOn(disk), 0),
      // Internal ones stand in brackets.
      volumes: volumes.map((v) => (v.lv_name ?? "").replace(/^\[(.*)\]$/, "$1")),
      unusable,
    });
  }
  return groups;
}

const PV_COLUMNS = "pv_name,pv_allocatable,pv_missing,pv_pe_count,pv_pe_alloc_count";

function freeOn(row: Record<string, string>): number {
  if (row.pv_allocatable === "" || row.pv_missing !== "") return 0;
  return Number(row.pv_pe_count) - Number(row.pv_pe_alloc_count);
}

/** lvmsystemid(7), lvmlockd(8): LVM leaves alone what belongs to another host. */
function othersReason({ vg_systemid = "", vg_shared = "" }: Record<string, string>): string {
  if (vg_systemid !== "") return `it belongs to another host (system ID ${vg_systemid})`;
  return vg_shared !== "" ? "it is shared between hosts, and lvmlockd does not run here" : "LVM does not use it here";
}

function reasonOf(row: Record<string, string>): string | null {
  if (row.vg_exported !== "") return "it is exported";
  if (row.vg_partial !== "" || row.vg_missing_pv_count !== "0") return "a disk of it is missing";
  if (row.vg_permissions !== "writeable") return "it is read-only";
  return row.vg_clustered !== "" ? "it belongs to a cluster" : null;
}

function named(group: string): string {
  return `vg_name="${group}"`;
}

/** A linear volume that is made for a purpose. */
export interface NewVolume {
  readonly group: string;
  readonly groupUuid: string;
  readonly name: string;
  readonly extents: number;
  /** By this it is known as ours, beside the tag that all of ours have. */
  readonly tag: string;
}

/** The command that makes it. Old signatures in its place are wiped, so that nothing of them is ever recognised there. */
export function createArguments({ group, name, extents, tag }: NewVolume): string[] {
  const tags = ["--addtag", TAG, "--addtag", tag];
  const size = ["--type", "linear", "--name", name, "--extents", String(extents)];
  return ["--quiet", ...size, ...tags, "--wipesignatures", "y", "--zero", "y", "--yes", group];
}

/** Asks LVM whether it would make the volume; changes nothing. Throws `io` with its reason. */
export async function tryVolume(volume: NewVolume): Promise<void> {
  await lvm("lvcreate", "--test", ...createArguments(volume));
}

/** Makes and activates it. */
export async function createVolume(volume: NewVolume): Promise<void> {
  await lvm("lvcreate", ...createArguments(volume));
}

/** The UUID (as LVM writes it) and the name that it has now; null when it is not there. `uuid`: it may have another name since. */
export async function findVolume(
  volume: NewVolume,
  uuid: string | undefined,
): Promise<{ readonly uuid: string; readonly group: string; readonly name: string } | null> {
  const [row] = await report("lvs", "lv_uuid,lv_name,vg_name", "--select", ours(volume, uuid));
  return row === undefined ? null : { uuid: row.lv_uuid ?? "", group: row.vg_name ?? "", name: row.lv_name ?? "" };
}

/** Removes it; nothing happens when it is not there. Throws `io` when its group cannot be seen, or it is in use. */
export async function removeVolume(volume: NewVolume, uuid: string | undefined): Promise<void> {
  const groups = await report("vgs", "vg_name", "--select", `vg_uuid="${volume.groupUuid}"`);
  if (groups.length === 0) {
    throw new StorageError("io", `the volume group ${volume.group} is not to be seen`, {
      layer: "lvm",
      hint: "its disks must be there (vgs lists groups), then repeat",
    });
  }
  await lvm("lvremove", "--quiet", "--force", "--yes", "--select", ours(volume, uuid));
}

function ours({ groupUuid, name, tag }: NewVolume, uuid: string | undefined): string {
  const which = uuid === undefined ? `lv_name="${name}"` : `lv_uuid="${uuid}"`;
  return `vg_uuid="${groupUuid}" && ${which} && lv_tags={"${tag}"}`;
}
