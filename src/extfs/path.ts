import { StorageError } from "../core/errors.ts";
import type { ExtInode } from "./inode.ts";
import type { ExtVolume } from "./volume.ts";

/** Symbolic links in one path, as in Linux (MAXSYMLINKS). */
const MOST_LINKS = 40;
/** PATH_MAX: links inside links may make no longer path than this many bytes still to go. */
const LONGEST_PATH = 4096;
const SLASH = 0x2f;

/** Bytes of a name or path as text for a message: what is no UTF-8 becomes U+FFFD. */
export function nameText(name: Uint8Array): string {
  return Buffer.from(name).toString("utf8");
}

/**
 * Finds `path` (bytes or UTF-8, from the root of the volume) as the guest's kernel would: links are followed inside the volume, and an
 * absolute target begins at its root. `..` goes by the way that was taken, never by what a directory says. Throws `usage` when it is not there.
 */
export async function findPath(
  volume: ExtVolume,
  path: string | Uint8Array,
  options: { readonly followLast: boolean },
): Promise<ExtInode> {
  const root = await volume.root();
  const way: ExtInode[] = [root];
  const asked = typeof path === "string" ? new Uint8Array(Buffer.from(path)) : path;
  const todo = components(asked);
  // A slash at the end asks for the directory behind a link.
  const follow = options.followLast || asked[asked.length - 1] === SLASH;
  let links = 0;
  while (todo.length > 0) {
    const name = todo.shift()!;
    const text = nameText(name);
    const here = way[way.length - 1]!;
    if (here.type !== "directory") throw missing(asked, `a ${here.type} has no ${text}`);
    if (text === ".") continue;
    if (text === "..") {
      if (way.length > 1) way.pop();
      continue;
    }
    const found = await lookUp(volume, here, name);
    if (found === null) throw missing(asked, `there is no ${text}`);
    const inode = await volume.inode(found);
    if (inode.type === "symlink" && (todo.length > 0 || follow)) {
      if (++links > MOST_LINKS) throw missing(asked, `more than ${MOST_LINKS} symbolic links`);
      const target = await volume.linkTarget(inode);
      if (target[0] === SLASH) way.length = 1;
      todo.unshift(...components(target));
      if (todo.reduce((sum, part) => sum + part.length + 1, 0) > LONGEST_PATH * 2)
        throw missing(asked, "its symbolic links make too long a path");
      continue;
    }
    way.push(inode);
  }
  return way[way.length - 1]!;
}

async function lookUp(volume: ExtVolume, directory: ExtInode, name: Uint8Array): Promise<number | null> {
  for await (const entry of volume.entries(directory)) {
    if (Buffer.compare(entry.name, name) === 0) return entry.inode;
  }
  return null;
}

function components(path: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < path.length; ) {
    const slash = path.indexOf(SLASH, at);
    const end = slash < 0 ? path.length : slash;
    if (end > at) out.push(path.slice(at, end));
    at = end + 1;
  }
  return out;
}

function missing(path: Uint8Array, why: string): StorageError {
  return new StorageError("usage", `${nameText(path)}: ${why}`, {
    layer: "ext",
    hint: "unterbau ls shows what is there; paths begin at the root of the volume",
  });
}
