import type { GuestFiles } from "../model.ts";

const MAX_FILES = 200;
const MAX_LINES = 50_000;

/** Settings of the outermost level, by name; files that could not be read. */
export interface DovecotSettings {
  readonly values: ReadonlyMap<string, string>;
  /** What blocks say otherwise for some protocols, networks or names (`protocol imap { … }`, `remote 10.0.0.0/8 { … }`). */
  readonly narrowed: readonly { readonly block: string; readonly key: string; readonly value: string }[];
  readonly unread: readonly string[];
}

/** Reads dovecot.conf and all that it includes (Dovecot 2.3, "Config file syntax"); null: there is none. */
export async function readDovecot(
  inside: GuestFiles,
  path = "/etc/dovecot/dovecot.conf",
): Promise<DovecotSettings | null> {
  const values = new Map<string, string>();
  const narrowed: { block: string; key: string; value: string }[] = [];
  const unread: string[] = [];
  const seen = new Set<string>();
  const read = async (name: string, optional: boolean): Promise<boolean> => {
    if (seen.size >= MAX_FILES || seen.has(name)) return true;
    seen.add(name);
    const file = await inside.file(name);
    if (file.kind !== "text") {
      if (!optional || file.kind === "unreadable") unread.push(name);
      return false;
    }
    const blocks: string[] = [];
    for (const line of file.text.split("\n", MAX_LINES)) {
      const plain = line
        .replace(/^\s+|\s+$/g, "")
        .replace(/(^|\s)#.*$/, "")
        .trim();
      const [, attempt, pattern] = /^!include(_try)?\s+(\S+)$/.exec(plain) ?? [];
      if (pattern !== undefined) {
        const folder = name.slice(0, name.lastIndexOf("/"));
        const full = pattern.startsWith("/") ? pattern : `${folder}/${pattern}`;
        for (const one of await expand(inside, full)) await read(one, attempt !== undefined || one !== full);
        continue;
      }
      const [, key, value] = /^([\w/]+)\s*=\s*(.*)$/.exec(plain) ?? [];
      const said = (value ?? "").replace(/^"(.*)"$/, "$1");
      if (plain.endsWith("{")) blocks.push(plain.slice(0, -1).trim());
      else if (plain === "}") blocks.pop();
      else if (blocks.length === 0 && key !== undefined) values.set(key, said);
      else if (key !== undefined && blocks.every((b) => /^(protocol|remote|local|local_name)\b/.test(b)))
        narrowed.push({ block: blocks.join(" "), key, value: said });
    }
    return true;
  };
  return (await read(path, false)) ? { values, narrowed, unread } : null;
}

/** A pattern with `*` in its last part. */
async function expand(inside: GuestFiles, pattern: string): Promise<string[]> {
  const at = pattern.lastIndexOf("/");
  const [folder, last] = [pattern.slice(0, at), pattern.slice(at + 1)];
  if (!last.includes("*")) return [pattern];
  const expression = new RegExp(`^${last.split("*").map(escaped).join(".*")}$`);
  return ((await inside.list(folder)) ?? []).filter((n) => expression.test(n)).map((n) => `${folder}/${n}`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** Folders that hold mail: of `mail_location` (2.3) or `mail_path` (2.4) the part before the first variable; `~` is a home. */
export function mailPaths(values: ReadonlyMap<string, string>): string[] {
  const paths = [values.get("mail_path"), values.get("mail_inbox_path")];
  const location = values.get("mail_location") ?? "";
  for (const part of location.split(":")) {
    paths.push(part.replace(/^[A-Z]+=/, ""));
  }
  const home = values.get("mail_home");
  return [
    ...new Set(
      paths.flatMap((p) => {
        if (p === undefined) return [];
        const path = p.startsWith("~") ? `${fixed(home ?? "/home/")}` : fixed(p);
        return path.startsWith("/") ? [path] : [];
      }),
    ),
  ];
}

/** The folder above the first variable. */
export function fixed(path: string): string {
  const variable = path.search(/[%$]/);
  const plain = variable < 0 ? path : path.slice(0, path.lastIndexOf("/", variable));
  return plain.length > 1 ? plain.replace(/\/+$/, "") : "/";
}
