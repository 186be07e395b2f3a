import type { AuditGuest, AuditLayer, HostReader, Remark } from "../model.ts";
import { remark } from "../verdict.ts";
import type { CryptSegment } from "./dm-table.ts";
import { allLayers, encryptionOf, type Storage } from "./layers.ts";
import { type LuksHeader, parseDump, withMetadata } from "./luks-header.ts";
import { luksInsideVolumes } from "./luks-inside.ts";

/** An encrypted volume with its header: one that the host has opened, or one inside a guest's disk. Plain facts: they are kept with the verdict. */
export interface CryptVolume {
  /** The mapping: `data_crypt`; inside a disk `vda: 1b4e28ba-…`. */
  readonly name: string;
  /** It is opened by the guest or by its QEMU: there is no mapping of the host's, only a header. */
  readonly inside: boolean;
  /** What device mapper has made it from: `CRYPT-LUKS2-…`. */
  readonly dmUuid: string;
  readonly table: readonly CryptSegment[] | null;
  /** What it lies on: `/dev/md0`; null: not known. */
  readonly device: string | null;
  readonly deviceNumber: string | null;
  /** The UUID that lsblk sees there. */
  readonly deviceUuid: string | null;
  /** `loop`, `partition`, `lvm` … */
  readonly on: string;
  /** Of a loop device: whether its file lies on encryption itself. */
  readonly onEncrypted: "yes" | "no" | "unknown";
  readonly header: LuksHeader | null;
  /** Why there is no header. */
  readonly problem: string | null;
}

/** Every dm-crypt layer under the guest's disks, each once. */
export function cryptLayersOf(guest: AuditGuest | null): AuditLayer[] {
  const found = new Map<string, AuditLayer>();
  for (const { layers } of guest?.disks ?? [])
    for (const layer of layers ? allLayers(layers) : []) if (layer.kind === "crypt") found.set(layer.name, layer);
  return [...found.values()];
}

export interface CryptVolumes {
  readonly volumes: readonly CryptVolume[];
  /** False: under some disk there may be more, since not all of its layers are known. */
  readonly known: boolean;
}

export async function cryptVolumes(
  guest: AuditGuest | null,
  host: HostReader,
  storage: Storage,
): Promise<CryptVolumes> {
  const volumes = await Promise.all(cryptLayersOf(guest).map((layer) => volumeOf(layer, host, storage)));
  return { volumes, known: layersKnown(guest) };
}

/** Whether every way down from the guest's disks ends at a device of the host's. A network disk is known to have none of its layers. */
export function layersKnown(guest: AuditGuest | null): boolean {
  const ends = (l: AuditLayer): boolean => (l.below.length === 0 ? l.kind !== "unknown" : l.below.every(ends));
  return guest?.disks.every((d) => d.layers !== null && ends(d.layers)) ?? false;
}

/** Of those that are LUKS, and what our own reader has found of it inside the disks. */
export async function luksVolumes(guest: AuditGuest | null, host: HostReader, storage: Storage): Promise<CryptVolumes> {
  const [{ volumes, known }, inside] = await Promise.all([
    cryptVolumes(guest, host, storage),
    luksInsideVolumes(guest, host),
  ]);
  return { volumes: [...volumes.filter((v) => /^CRYPT-LUKS/.test(v.dmUuid)), ...inside], known };
}

/** Mappings of LUKS that go through dm-crypt nowhere yet: an encryption that was begun, and nothing more. */
export async function begunVolumes(
  guest: AuditGuest | null,
  host: HostReader,
  storage: Storage,
): Promise<CryptVolume[]> {
  const mapped = (guest?.disks ?? []).flatMap(({ layers }) =>
    layers ? allLayers(layers).filter((l) => l.kind === "mapped") : [],
  );
  const named = new Map(mapped.map((layer) => [layer.name, layer]));
  const volumes = await Promise.all([...named.values()].map((layer) => volumeOf(layer, host, storage)));
  return volumes.filter((v) => /^CRYPT-LUKS/.test(v.dmUuid));
}

/** What every check of volumes says where there is none. */
export function noVolumes(known: boolean): Remark {
  return known ? remark("n-a", "no-volumes") : remark("unknown", "volumes-unknown");
}

async function volumeOf(layer: AuditLayer, host: HostReader, storage: Storage): Promise<CryptVolume> {
  const mapping = [...storage.view.devices.values()].find((d) => d.name === layer.name);
  const below = layer.below[0];
  const under = below?.kind === "unknown" ? null : (below ?? null);
  const path = under === null ? null : blockPath(under, storage);
  const device = path === null ? null : await storage.block(path);
  const dmUuid = mapping?.dmUuid ?? "";
  const read =
    /^CRYPT-LUKS/.test(dmUuid) && path !== null ? await readHeader(path, host) : { header: null, problem: null };
  return {
    name: layer.name,
    inside: false,
    dmUuid,
    table: mapping?.table ?? null,
    device: path,
    deviceNumber: device?.number ?? null,
    deviceUuid: device?.uuid ?? null,
    on: under?.kind ?? "unknown",
    onEncrypted: under === null ? "unknown" : encryptionOf(under),
    ...read,
  };
}

function blockPath(layer: AuditLayer, storage: Storage): string | null {
  return [...storage.view.devices.values()].find((d) => d.name === layer.name)?.path ?? layer.path;
}

export interface ReadHeader {
  readonly header: LuksHeader | null;
  readonly problem: string | null;
}

/** The header at the start of a device, or of a file with its backup. Salts and digests are taken out of what is kept. */
export async function readHeader(path: string, host: HostReader): Promise<ReadHeader> {
  const dump = await host.run(["cryptsetup", "luksDump", path]);
  if (dump.kind === "missing") return { header: null, problem: "cryptsetup is not installed" };
  if (dump.exit !== 0) return { header: null, problem: dump.stderr.trim().split("\n").at(-1) || "cryptsetup failed" };
  const header = parseDump(dump.stdout);
  if (header === null) return { header, problem: "cryptsetup's output was not understood" };
  if (header.version === 1) return { header, problem: null };
  const json = await host.run(["cryptsetup", "luksDump", "--dump-json-metadata", path]);
  const whole = json.kind === "ran" && json.exit === 0 ? withMetadata(header, json.stdout) : null;
  return { header: whole, problem: whole === null ? "cryptsetup's metadata was not understood" : null };
}
