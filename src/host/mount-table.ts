import { readdirSync } from "node:fs";
import { join } from "node:path";
import { devicePath, readTable, tableFields, unescapeOctal } from "./crypttab.ts";

/** A mount that fstab(5) or a mount unit of systemd declares. */
export interface DeclaredMount {
  /** Path of a device, file or folder, or what a network file system takes; `UUID=…` and the like become udev's link. */
  readonly what: string;
  /** Absolute, without a slash at its end. */
  readonly where: string;
  readonly type: string;
  readonly options: readonly string[];
  /** The unit's name; null: it is in fstab. */
  readonly unit: string | null;
}

export interface MountedNow {
  /** `MAJOR:MINOR` */
  readonly number: string;
  readonly where: string;
  readonly type: string;
  readonly source: string;
  /** Of the mount and of the file system. */
  readonly options: readonly string[];
}

/** Mount points of fstab(5), swap aside. */
export function parseFstab(text: string): DeclaredMount[] {
  return text.split("\n").flatMap((line) => {
    const [what, where, type = "auto", options = "defaults"] = tableFields(line).map(unescapeOctal);
    if (what === undefined || !where?.startsWith("/")) return [];
    const path = plainFolder(where);
    return [{ what: devicePath(what), where: path, type, options: options.split(","), unit: null }];
  });
}

/** systemd.mount(5): the section [Mount]. Null when it does not say what and where. */
export function parseMountUnit(text: string, unit: string): DeclaredMount | null {
  const values = new Map<string, string>();
  let section = "";
  for (const raw of text.replaceAll(/\\\n/g, " ").split("\n")) {
    const line = raw.trim();
    if (line.startsWith("[")) section = line;
    const [, key, value] = /^(\w+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (section === "[Mount]" && key !== undefined && value !== undefined) values.set(key, value);
  }
  const what = values.get("What");
  const where = values.get("Where");
  if (!what || !where?.startsWith("/")) return null;
  const options = (values.get("Options") ?? "defaults").split(",");
  return {
    what: devicePath(what.replaceAll("%%", "%")),
    where: plainFolder(where.replaceAll("%%", "%")),
    type: values.get("Type") ?? "auto",
    options,
    unit,
  };
}

/** Where an administrator's and a package's mount units are (systemd.unit(5)); the first of a name counts. */
const UNIT_FOLDERS = [
  "etc/systemd/system",
  "run/systemd/system",
  "usr/local/lib/systemd/system",
  "usr/lib/systemd/system",
];

/** What the host's tables and units declare. `root`: another tree than `/`. */
export function declaredMounts(root = "/"): DeclaredMount[] {
  const found = parseFstab(readTable(join(root, "etc/fstab")));
  const seen = new Set<string>();
  for (const folder of UNIT_FOLDERS) {
    for (const name of listed(join(root, folder))) {
      if (!name.endsWith(".mount") || seen.has(name)) continue;
      seen.add(name);
      const mount = parseMountUnit(readTable(join(root, folder, name)), name);
      if (mount !== null) found.push(mount);
    }
  }
  return found;
}

/** proc_pid_mountinfo(5). Later lines cover earlier ones. */
export function parseMountinfo(text: string): MountedNow[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const where = fields[4];
    if (where === undefined) return [];
    const [type = "unknown", source = "?", own = ""] = fields.slice(fields.indexOf("-", 6) + 1);
    const options = [fields[5] ?? "", own].flatMap((o) => o.split(","));
    return [{ number: fields[2]!, where: unescapeOctal(where), type, source: unescapeOctal(source), options }];
  });
}

export function plainFolder(path: string): string {
  return path.replace(/\/+$/, "") || "/";
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
