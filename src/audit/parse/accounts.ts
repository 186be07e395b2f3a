/** passwd(5) and group(5). */
export interface Accounts {
  readonly users: readonly {
    readonly name: string;
    readonly uid: number;
    readonly gid: number;
    readonly shell: string;
  }[];
  readonly groups: readonly { readonly name: string; readonly gid: number; readonly members: readonly string[] }[];
}

const MAX_LINES = 100_000;

export function parseAccounts(passwd: string, group: string): Accounts {
  const fields = (text: string) =>
    text
      .split("\n", MAX_LINES)
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => line.split(":"));
  return {
    users: fields(passwd).map(([name = "", , uid, gid, , , shell = ""]) => ({
      name,
      uid: Number(uid),
      gid: Number(gid),
      shell,
    })),
    groups: fields(group).map(([name = "", , gid, members = ""]) => ({
      name,
      gid: Number(gid),
      members: members.split(",").filter((m) => m !== ""),
    })),
  };
}

/** Everybody in the group: its members, and whose own group it is. */
export function membersOf({ users, groups }: Accounts, name: string): string[] {
  const group = groups.find((g) => g.name === name);
  if (group === undefined) return [];
  const own = users.filter((u) => u.gid === group.gid).map((u) => u.name);
  return [...new Set([...group.members, ...own])];
}

/** login.defs(5), UID_MIN; from 60000 on Debian Policy (9.2.2) gives numbers to services, 65534 is nobody. */
export function isPerson(uid: number): boolean {
  return uid >= 1000 && uid < 60_000;
}

/** One named entry of `getfacl` beside owner, group and others. */
export interface AclEntry {
  readonly kind: "user" | "group";
  readonly name: string;
  readonly read: boolean;
  readonly write: boolean;
}

/** Named entries that are in effect, of `getfacl` without header (getfacl(1)); defaults for new files are left out. */
export function parseAcl(text: string): AclEntry[] {
  return text.split("\n", MAX_LINES).flatMap((line) => {
    const match = /^(user|group):([^:]+):([r-])([w-])[x-](?:\s+#effective:([r-])([w-])[x-])?/.exec(line);
    if (match === null) return [];
    const [, kind, name = "", r, w, er = r, ew = w] = match;
    return [{ kind: kind as "user" | "group", name, read: er === "r", write: ew === "w" }];
  });
}
