import type { Json, NodeDocument } from "../usecases/documents.ts";
import { exactSize, grouped, humanSize } from "./units.ts";

type Details = NodeDocument["details"];

function string(d: Details, key: string): string | null {
  const v = d[key];
  return typeof v === "string" && v !== "" ? v : null;
}

function number(d: Details, key: string): number | null {
  const v = d[key];
  return typeof v === "number" ? v : null;
}

function list(d: Details, key: string): readonly Json[] {
  const v = d[key];
  return Array.isArray(v) ? v : [];
}

function plural(n: number, one: string, many = `${one}s`): string {
  return n === 1 ? `1 ${one}` : `${grouped(n)} ${many}`;
}

/** Kinds of nodes that contain a whole disk: an image format, or none. */
const CONTAINERS: ReadonlySet<string> = new Set(["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"]);

export function isContainer(node: NodeDocument): boolean {
  return CONTAINERS.has(node.kind);
}

/** The word in the type column. */
export function typeWord(node: NodeDocument): string {
  const d = node.details;
  switch (node.kind) {
    case "qcow2":
      return `qcow2 v${number(d, "version") ?? "?"}`;
    case "luks1":
      return "LUKS1";
    case "luks2":
      return "LUKS2";
    case "lvm-pv":
      return "LVM PV";
    case "lvm-vg":
      return "LVM VG";
    case "md-member":
      return "RAID member";
    case "md":
      return string(d, "level") === null ? "RAID" : `RAID (${string(d, "level")})`;
    case "filesystem":
      return string(d, "type") ?? "file system";
    case "swap":
      return string(d, "type") ?? "swap";
    case "partition":
      return string(d, "typeName") ?? "partition";
    case "lvm-lv":
      return "LVM LV";
    default:
      return node.kind;
  }
}

/** What a person wants to know of a node at one glance, most important first. */
export function facts(node: NodeDocument): string[] {
  const d = node.details;
  const out: (string | null)[] = [];
  const locked = string(d, "locked");
  if (locked) out.push(d.lockCode === "unsupported" ? locked : `locked: ${locked}`);
  const unavailable = string(d, "unavailable");
  // A finding that says it already stands below the row.
  if (unavailable && !node.findings.some((f) => f.message.includes(unavailable))) out.push(unavailable);
  switch (node.kind) {
    case "qcow2":
      out.push(...qcow2Facts(d));
      break;
    case "vmdk":
    case "vdi":
    case "vhd":
    case "vhdx":
      out.push(...imageFacts(d));
      break;
    case "luks1":
    case "luks2":
      out.push(...luksFacts(d));
      break;
    case "mbr":
      out.push(string(d, "id"));
      break;
    case "gpt":
      out.push(string(d, "guid"));
      if (string(d, "usedTable") === "backup") out.push("read from the backup table");
      break;
    case "lvm-pv":
      out.push(string(d, "vg") ? `of ${string(d, "vg")}` : "of no volume group");
      break;
    case "lvm-vg":
      out.push(
        plural(list(d, "pvs").length, "physical volume"),
        `extents of ${exactSize(number(d, "extentSize") ?? 0)}`,
      );
      break;
    case "swap":
      out.push(identity(d), string(d, "label"));
      break;
    case "filesystem":
      out.push(...filesystemFacts(d));
      break;
    case "md-member":
      out.push(string(d, "level"), string(d, "label"), roleText(d), identity(d));
      break;
    case "md":
      out.push(...arrayFacts(d));
      break;
  }
  return out.filter((f): f is string => f !== null && f !== "");
}

function roleText(d: Details): string | null {
  const role = number(d, "role");
  return role === null ? string(d, "role") : `device ${role} of ${number(d, "members") ?? "?"}`;
}

function arrayFacts(d: Details): (string | null)[] {
  const chunk = number(d, "chunkSize");
  return [
    string(d, "state"),
    plural(number(d, "raidDevices") ?? 0, "device"),
    string(d, "layout"),
    chunk ? `chunks of ${exactSize(chunk)}` : null,
    string(d, "readOnly") && "read-only",
    identity(d),
  ];
}

function identity(d: Details): string | null {
  const uuid = string(d, "uuid");
  return uuid && `UUID=${uuid}`;
}

function qcow2Facts(d: Details): (string | null)[] {
  const snapshots = list(d, "snapshots").length;
  const backing = string(d, "backingFile");
  const dataFile = string(d, "dataFile");
  const shown = d.snapshot as { readonly id?: unknown; readonly name?: unknown } | undefined;
  return [
    shown ? `snapshot ${String(shown.name)} (${String(shown.id)})` : null,
    string(d, "encryption") === "LUKS" ? "encrypted with LUKS" : null,
    dataFile && `data in ${dataFile}`,
    `clusters ${exactSize(number(d, "clusterSize") ?? 0)}`,
    backing && `over ${backing}`,
    snapshots > 0 ? plural(snapshots, "snapshot") : null,
    d.dirty === true ? "marked dirty" : null,
    d.corrupt === true ? "marked corrupt" : null,
  ];
}

function imageFacts(d: Details): (string | null)[] {
  const block = number(d, "blockSize");
  const extents = list(d, "extents").length;
  return [
    string(d, "subformat"),
    block === null || block === 0 ? null : `blocks of ${exactSize(block)}`,
    extents > 0 ? plural(extents, "extent") : null,
  ];
}

function luksFacts(d: Details): (string | null)[] {
  const bits = number(d, "keyBits");
  const cipher = string(d, "cipher");
  const slots = list(d, "keyslots").filter((s) => (s as { active?: boolean }).active !== false).length;
  const tokens = list(d, "tokens").map((t) => (t as { type?: string }).type ?? "?");
  const by = d.unlockedBy as { slot?: number } | undefined;
  return [
    cipher && (bits ? `${cipher}, ${bits} bits` : cipher),
    plural(slots, "keyslot"),
    typeof by?.slot === "number" ? `opened by keyslot ${by.slot}` : null,
    tokens.length > 0 ? `tokens ${tokens.join(", ")}` : null,
    string(d, "label"),
  ];
}

function filesystemFacts(d: Details): (string | null)[] {
  const used = number(d, "inodesUsed");
  const all = number(d, "inodes");
  const mounts = number(d, "mountCount");
  const checked = string(d, "lastCheck")?.slice(0, 10);
  const label = string(d, "label");
  return [
    string(d, "state"),
    label && `“${label}”`,
    used !== null && all !== null ? `${grouped(used)} of ${grouped(all)} inodes` : null,
    mounts !== null
      ? `mounted ${mounts === 1 ? "once" : plural(mounts, "time")} since the check${checked ? ` of ${checked}` : ""}`
      : null,
    used === null ? identity(d) : null,
  ];
}

/** Every detail as `key: value` lines, for `--long`. */
export function longFacts(node: NodeDocument): string[] {
  const out: string[] = [];
  const add = (key: string, value: Json | undefined): void => {
    if (value === null || value === undefined || value === "") return;
    if (Array.isArray(value)) {
      if (value.length === 0) return;
      if (value.every((v) => typeof v !== "object")) out.push(`${key}: ${value.join(" ")}`);
      else for (const [i, v] of value.entries()) add(`${key}[${i}]`, v as Json);
    } else if (typeof value === "object") {
      const pairs = Object.entries(value).filter(([, v]) => v !== null && v !== undefined);
      if (pairs.every(([, v]) => typeof v !== "object"))
        out.push(`${key}: ${pairs.map(([k, v]) => `${k} ${v}`).join(", ")}`);
      else for (const [k, v] of pairs) add(`${key}.${k}`, v as Json);
    } else if (typeof value === "number" && /size$|bytes$|offset$/i.test(key) && value >= 1024) {
      out.push(`${key}: ${value} (${humanSize(value)})`);
    } else {
      out.push(`${key}: ${value}`);
    }
  };
  if (node.offset !== null && node.offset > 0) out.push(`at: byte ${node.offset}, sector ${node.offset / 512}`);
  out.push(`size: ${node.size} bytes${node.size % 512 === 0 ? `, ${node.size / 512} sectors` : ""}`);
  for (const [key, value] of Object.entries(node.details)) if (key !== "members") add(key, value);
  return out;
}
