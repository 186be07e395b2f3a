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
  const path = findProgram(command);
  if (path === null) {
    throw new StorageError("unsupported", `${command} is not installed`, {
      layer: "lvm",
      feature: command,
      hint: "install the package lvm2",
    });
  }
  const env = { ...process.env, LC_ALL: "C", LVM_SUPPRESS_FD_WARNINGS: "1" };
  const { code, output, errors } = await runLimited(path, args, env, { limitMs: LIMIT_MS });
  if (code === 0) return output;
  const reason =
    errors
      .trim()
      .split(/\s*\n\s*/)
      .join("; ") || `it ended with ${code ?? "a signal"}`;
  throw new StorageError("io", `${command}: ${reason}`, { layer: "lvm" });
}

/** The rows of a report, values as text; sizes in bytes. */
async function report(command: "lvs" | "pvs", columns: string, ...args: string[]): Promise<Record<string, string>[]> {
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

/** Bytes that no volume has, on these physical volumes together. */
export async function freeBytes(devices: readonly string[]): Promise<number> {
  const rows = await report("pvs", "pv_name,pv_free", ...devices);
  return rows.reduce((sum, row) => sum + Number(row.pv_free), 0);
}

/** A classic snapshot, for reading, whose copies lie on the volume's own devices: what those encrypt stays encrypted. */
export async function makeSnapshot(volume: LogicalVolume, name: string, size: number): Promise<void> {
  const options = ["--snapshot", "--name", name, "--size", `${size}b`, "--permission", "r", "--addtag", TAG, "--yes"];
  await lvm("lvcreate", "--quiet", ...options, `${volume.group}/${volume.name}`, ...volume.devices);
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
