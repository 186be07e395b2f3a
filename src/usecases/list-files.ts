import { describeError, StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { withinLimit } from "../core/numbers.ts";
import { nameText } from "../extfs/path.ts";
import type { DirectoryEntry, ExtInode, ExtVolume, Timestamp } from "../extfs/volume.ts";
import type { FileDocument, ListDocument, ListingDocument, ProblemDocument } from "./documents.ts";
import { type FilesOptions, withFiles } from "./file-tree.ts";

export interface ListOptions extends FilesOptions {
  readonly recursive: boolean;
  /** Do not open a folder that `path` means, show it itself. */
  readonly itself?: boolean | undefined;
}

/** What a volume's folder holds, sorted by the bytes of the names. What is damaged is named in `problems`; the rest is listed all the same. */
export async function listFiles(options: ListOptions): Promise<ListDocument> {
  return withFiles(options, true, async ({ files, selector, inode }) => {
    const listings: ListingDocument[] = [];
    const problems: ProblemDocument[] = [];
    const bytes = new Uint8Array(Buffer.from(options.path));
    if (inode.type === "directory" && !options.itself) {
      await listFolders(files, inode, options, listings, problems);
    } else {
      listings.push({ path: options.path, entries: [await fileDocument(files, bytes, inode)] });
    }
    return { schema: "unterbau/ls/1", volume: selector, path: options.path, listings, problems };
  });
}

interface Folder {
  readonly inode: ExtInode;
  readonly path: string;
  readonly depth: number;
}

async function listFolders(
  files: ExtVolume,
  top: ExtInode,
  options: ListOptions,
  listings: ListingDocument[],
  problems: ProblemDocument[],
): Promise<void> {
  const limits = options.limits ?? DEFAULT_LIMITS;
  /** A folder has one place: one that is seen again is a loop, or damage. */
  const seen = new Set<number>([top.number]);
  const todo: Folder[] = [{ inode: top, path: options.path, depth: 0 }];
  let count = 0;
  for (let folder = todo.pop(); folder; folder = todo.pop()) {
    options.signal?.throwIfAborted();
    const entries: FileDocument[] = [];
    const below: Folder[] = [];
    for (const { entry, path } of await sorted(files, folder, problems)) {
      withinLimit(++count, limits.extDirectoryEntries, "extDirectoryEntries", "names to list", "ext");
      try {
        const inode = await files.inode(entry.inode);
        entries.push(await fileDocument(files, entry.name, inode));
        if (inode.type !== "directory" || !options.recursive) continue;
        if (seen.has(inode.number)) throw seenAgain(inode);
        withinLimit(folder.depth + 1, limits.extFolderDepth, "extFolderDepth", "folders in folders", "ext");
        seen.add(inode.number);
        below.push({ inode, path, depth: folder.depth + 1 });
      } catch (error) {
        problems.push(problem(path, error));
      }
    }
    listings.push({ path: folder.path, entries });
    todo.push(...below.reverse());
  }
}

/** `corrupt`: a folder that was met before. */
export function seenAgain(inode: ExtInode): StorageError {
  return new StorageError("corrupt", `this folder (inode ${inode.number}) lies in another one as well`, {
    layer: "ext",
    offset: inode.offset,
  });
}

/** The names that can be read, also when the folder is damaged further on. */
async function sorted(
  files: ExtVolume,
  folder: Folder,
  problems: ProblemDocument[],
): Promise<{ entry: DirectoryEntry; path: string }[]> {
  const out: { entry: DirectoryEntry; path: string }[] = [];
  try {
    for await (const entry of files.entries(folder.inode)) out.push({ entry, path: joined(folder.path, entry.name) });
  } catch (error) {
    problems.push(problem(folder.path, error));
  }
  return out.sort((a, b) => Buffer.compare(a.entry.name, b.entry.name));
}

/** A path for a person; its bytes may be lost. */
export function joined(folder: string, name: Uint8Array): string {
  return `${folder.endsWith("/") ? folder : `${folder}/`}${nameText(name)}`;
}

/** Turns what one file's damage throws into a line; what concerns the whole call is thrown on. */
export function problem(path: string, error: unknown): ProblemDocument {
  const skipped = error instanceof StorageError && ["corrupt", "unsupported", "usage"].includes(error.code);
  if (!skipped) throw error;
  return { path, message: describeError(error) };
}

async function fileDocument(files: ExtVolume, name: Uint8Array, inode: ExtInode): Promise<FileDocument> {
  const target = inode.type === "symlink" ? await files.linkTarget(inode) : null;
  return {
    ...textAndBytes("name", name),
    type: inode.type,
    mode: inode.permissions.toString(8).padStart(4, "0"),
    uid: inode.uid,
    gid: inode.gid,
    size: inode.size,
    allocatedBytes: inode.allocatedBytes,
    links: inode.links,
    inode: inode.number,
    mtime: isoTime(inode.mtime),
    device: inode.device,
    ...(target === null ? {} : textAndBytes("target", target)),
  } as FileDocument;
}

/** The bytes go along where they are no UTF-8, so that nothing is lost. */
function textAndBytes(key: "name" | "target", bytes: Uint8Array): { readonly [key: string]: string } {
  const text = nameText(bytes);
  const exact = Buffer.from(text).equals(Buffer.from(bytes));
  return exact ? { [key]: text } : { [key]: text, [`${key}Base64`]: Buffer.from(bytes).toString("base64") };
}

function isoTime(time: Timestamp): string {
  const whole = new Date(time.seconds * 1000).toISOString().slice(0, -5);
  return `${whole}.${String(time.nanoseconds).padStart(9, "0")}Z`;
}
