import type { HostReader } from "../model.ts";
import { type CryptSegment, parseDmTable } from "./dm-table.ts";

/** A block device as lsblk and device mapper tell of it. */
export interface Block {
  /** The kernel's: `dm-3`. */
  readonly kname: string;
  /** lsblk's: `vg0-web`. */
  readonly name: string;
  readonly path: string;
  /** `MAJOR:MINOR` */
  readonly number: string;
  /** lsblk's TYPE. */
  readonly type: string;
  readonly size: number | null;
  readonly fileSystem: string | null;
  readonly uuid: string | null;
  readonly rotational: boolean | null;
  readonly transport: string | null;
  readonly model: string | null;
  readonly serial: string | null;
  /** Largest discard in bytes; 0: none. */
  readonly discardMax: number | null;
  /** Of a mapped device: `CRYPT-LUKS2-…`; null: none, or not told. */
  readonly dmUuid: string | null;
  /** Lines of its table; null: not told. */
  readonly table: readonly CryptSegment[] | null;
  /** Kernel names of what it lies on. */
  readonly below: readonly string[];
}

export interface BlockView {
  /** By kernel name. */
  readonly devices: ReadonlyMap<string, Block>;
  /** Loop devices' files by kernel name. */
  readonly loops: ReadonlyMap<string, string>;
  /** Why there are none, or some facts lack: a program's name with what is wrong. */
  readonly problems: readonly { readonly program: string; readonly reason: "missing" | "failed" | "not-understood" }[];
}

export const LSBLK = [
  "lsblk",
  "--json",
  "--bytes",
  "--output",
  "NAME,KNAME,PATH,MAJ:MIN,TYPE,SIZE,RO,ROTA,TRAN,MODEL,SERIAL,FSTYPE,UUID,DISC-MAX",
];
const DMSETUP_INFO = ["dmsetup", "info", "-c", "--noheadings", "--separator", "|", "-o", "name,uuid,major,minor"];
const DMSETUP_TABLE = ["dmsetup", "table"];
const LOSETUP = ["losetup", "--json", "--list", "--output", "NAME,BACK-FILE"];

/** More devices than a host has. */
const MAX_DEVICES = 10_000;
const MAX_DEPTH = 64;

type Problem = BlockView["problems"][number];

export async function blockView(host: HostReader): Promise<BlockView> {
  const [lsblk, info, table, losetup] = await Promise.all(
    [LSBLK, DMSETUP_INFO, DMSETUP_TABLE, LOSETUP].map((argv) => host.run(argv)),
  );
  const problems: Problem[] = [];
  const text = (result: typeof lsblk, program: string): string | null => {
    if (result?.kind !== "ran") problems.push({ program, reason: "missing" });
    else if (result.exit !== 0) problems.push({ program, reason: "failed" });
    else return result.stdout;
    return null;
  };
  const listed = text(lsblk, "lsblk");
  const raw = listed === null ? null : parseLsblk(listed);
  if (listed !== null && raw === null) problems.push({ program: "lsblk", reason: "not-understood" });
  const mapped = [...(raw?.values() ?? [])].filter((d) => d.kname.startsWith("dm-"));
  // A kernel without device mapper has neither mapped devices nor a table of them.
  const infos = mapped.length === 0 ? "" : (text(info, "dmsetup") ?? "");
  const tables = mapped.length === 0 ? null : text(table, "dmsetup");
  const uuids = new Map(infos.split("\n").flatMap(infoLine));
  const segments = tables === null ? null : parseDmTable(tables);
  const devices = new Map<string, Block>();
  for (const [kname, device] of raw ?? []) {
    const own = kname.startsWith("dm-");
    const known = own ? uuids.get(device.number) : undefined;
    const dmUuid = !own ? null : (known?.uuid ?? (await sysfs(host, `/sys/block/${kname}/dm/uuid`)));
    devices.set(kname, { ...device, dmUuid, table: own ? (segments?.get(known?.name ?? device.name) ?? null) : null });
  }
  const hasLoops = [...devices.keys()].some((k) => /^loop\d+$/.test(k));
  const loops = hasLoops ? parseLosetup(text(losetup, "losetup") ?? "") : new Map<string, string>();
  return { devices, loops, problems };
}

async function sysfs(host: HostReader, path: string): Promise<string | null> {
  const file = await host.file(path);
  return file.kind === "text" ? file.text.trim() || null : null;
}

type Raw = Omit<Block, "dmUuid" | "table">;

/** lsblk's tree: a device of several parents stands under each of them. Null: it is none. */
export function parseLsblk(text: string): Map<string, Raw> | null {
  const json = attempt(() => JSON.parse(text) as { blockdevices?: unknown });
  if (!Array.isArray(json?.blockdevices)) return null;
  const found = new Map<string, Raw & { below: string[] }>();
  const visit = (nodes: readonly unknown[], parent: string | null, depth: number): boolean => {
    for (const node of nodes) {
      if (typeof node !== "object" || node === null || depth > MAX_DEPTH || found.size > MAX_DEVICES) return false;
      const field = node as Record<string, unknown>;
      const kname = field.kname;
      if (typeof kname !== "string") return false;
      const known = found.get(kname) ?? { ...deviceOf(kname, field), below: [] };
      if (parent !== null && !known.below.includes(parent)) known.below.push(parent);
      found.set(kname, known);
      if (Array.isArray(field.children) && !visit(field.children, kname, depth + 1)) return false;
    }
    return true;
  };
  return visit(json.blockdevices, null, 0) ? found : null;
}

function deviceOf(kname: string, field: Record<string, unknown>): Omit<Raw, "below"> {
  const string = (key: string) =>
    typeof field[key] === "string" && field[key] !== "" ? (field[key] as string).trim() : null;
  const number = (key: string) =>
    typeof field[key] === "number" ? field[key] : string(key) === null ? null : Number(field[key]);
  const rota = field.rota;
  return {
    kname,
    name: string("name") ?? kname,
    path: string("path") ?? `/dev/${kname}`,
    number: string("maj:min") ?? "",
    type: string("type") ?? "unknown",
    size: number("size"),
    fileSystem: string("fstype"),
    uuid: string("uuid"),
    rotational: typeof rota === "boolean" ? rota : rota === "1" ? true : rota === "0" ? false : null,
    transport: string("tran"),
    model: string("model"),
    serial: string("serial"),
    discardMax: number("disc-max"),
  };
}

/** `NAME|UUID|MAJOR|MINOR` */
function infoLine(line: string): [string, { name: string; uuid: string }][] {
  const [name, uuid, major, minor] = line.trim().split("|");
  return minor === undefined ? [] : [[`${major}:${minor}`, { name: name!, uuid: uuid! }]];
}

function parseLosetup(text: string): Map<string, string> {
  const json = attempt(() => JSON.parse(text || "{}") as { loopdevices?: unknown });
  const list = Array.isArray(json?.loopdevices) ? json.loopdevices : [];
  return new Map(
    list.slice(0, MAX_DEVICES).flatMap((entry: Record<string, unknown> | null) => {
      const name = entry?.name;
      const file = entry?.["back-file"];
      return typeof name === "string" && typeof file === "string" ? [[name.replace(/^\/dev\//, ""), file]] : [];
    }) as [string, string][],
  );
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
