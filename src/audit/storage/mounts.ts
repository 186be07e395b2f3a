/** One line of /proc/self/mountinfo. */
export interface Mount {
  readonly id: number;
  readonly parent: number;
  /** `MAJOR:MINOR`: st_dev of its files. */
  readonly number: string;
  readonly target: string;
  readonly type: string;
  readonly source: string;
  /** Per mount and per file system, in that order. */
  readonly options: readonly string[];
}

const MAX_MOUNTS = 20_000;

/** proc_pid_mountinfo(5): id, parent, number, root, target, options, optional fields, `-`, type, source, options. */
export function parseMountinfo(text: string): Mount[] {
  return text.split("\n", MAX_MOUNTS).flatMap((line) => {
    const [head, tail] = line.split(" - ", 2);
    const [id, parent, number, , target, options] = head!.split(" ");
    const [type, source, more] = (tail ?? "").split(" ");
    if (target === undefined || source === undefined) return [];
    const all = [...(options ?? "").split(","), ...(more ?? "").split(",")];
    return [
      {
        id: Number(id),
        parent: Number(parent),
        number: number!,
        target: unescaped(target),
        type: unescaped(type!),
        source: unescaped(source),
        options: all.map(unescaped).filter((o) => o !== ""),
      },
    ];
  });
}

/** Space, tab, newline and backslash stand as octal digits. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The mount that a path without links lies in: as the kernel walks, so that what is mounted over is not seen. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | null {
  const ids = new Set(mounts.map((m) => m.id));
  let at = mounts.find((m) => m.target === "/" && !ids.has(m.parent)) ?? mounts.find((m) => m.target === "/") ?? null;
  if (at === null) return null;
  const parts = path.split("/").filter((p) => p !== "");
  for (let depth = 0; depth <= parts.length; depth++) {
    const place = `/${parts.slice(0, depth).join("/")}`;
    // Several may lie over one another at one place.
    for (let stacked = 0; stacked < mounts.length; stacked++) {
      const parent: number = at.id;
      const next: Mount | undefined = mounts.find((m) => m.parent === parent && m.target === place && m.id !== parent);
      if (!next) break;
      at = next;
    }
  }
  return at;
}
