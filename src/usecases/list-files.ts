import { describeError, StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { withinLimit } from "../core/numbers.ts";
import { nameText } from "../extfs/path.ts";
import type { ExtInode, ExtVolume, Timestamp } from "../extfs/volume.ts";
import type { FileDocument, ListDocument, ListingDocument, ProblemDocument } from "./documents.ts";
import { type FilesOptions, withFiles } from "./file-tree.ts";

export interface ListOptions extends FilesOptions {
  readonly recursive: boolean;
  /** Do not open a folder that `path` means, show it itself. */
  readonly itself?: boolean | undefined;
}

/** Entries that are told at once: a folder may hold more than memory does. */
const PART = 10_000;

/** Takes what is listed, part by part, in order; all are awaited. */
export interface ListSink {
  begin(about: Pick<ListDocument, "volume" | "path">): Promise<void>;
  /** A folder, or with `more` further entries of the folder before. */
  listing(part: ListingDocument, more: boolean): Promise<void>;
}

/**
 * What a volume's folder holds, sorted by the bytes of the names. What is damaged is named in the result; the rest is listed all the same.
 * Parts of a damaged folder may be told before what is wrong with it is known.
 */
export async function listFiles(options: ListOptions, sink: ListSink): Promise<readonly ProblemDocument[]> {
  return withFiles(options, true, async ({ files, selector, inode }) => {
    const problems: ProblemDocument[] = [];
    await sink.begin({ volume: selector, path: options.path });
    if (inode.type === "directory" && !options.itself) {
      await listFolders(files, inode, options, sink, problems);
    } else {
      const bytes = new Uint8Array(Buffer.from(options.path));
      await sink.listing({ path: options.path, entries: [await fileDocument(files, bytes, inode)] }, false);
    }
    return problems;
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
  sink: ListSink,
  problems: ProblemDocument[],
): Promise<void> {
  const limits = options.limits ?? DEFAULT_LIMITS;
  /** A folder has one place: one that is seen again is a loop, or damage. */
  const seen = new Set<number>([top.number]);
  const todo: Folder[] = [{ inode: top, path: options.path, depth: 0 }];
  let count = 0;
  for (let folder = todo.pop(); folder; folder = todo.pop()) {
    options.signal?.throwIfAborted();
    let entries: FileDocument[] = [];
    let more = false;
    const tell = async () => {
      await sink.listing({ path: folder!.path, entries }, more);
      more = true;
      entries = [];
    };
    const below: Folder[] = [];
    for (const found of await sorted(files, folder, problems)) {
      withinLimit(++count, limits.extDirectoryEntries, "extDirectoryEntries", "names to list", "ext");
      const { name, number } = unpacked(found);
      const path = joined(folder.path, name);
      try {
        const inode = await files.inode(number);
        entries.push(await fileDocument(files, name, inode));
        if (entries.length === PART) await tell();
        if (inode.type !== "directory" || !options.recursive) continue;
        if (seen.has(inode.number)) throw seenAgain(inode);
        withinLimit(folder.depth + 1, limits.extFolderDepth, "extFolderDepth", "folders in folders", "ext");
        seen.add(inode.number);
        below.push({ inode, path, depth: folder.depth + 1 });
      } catch (error) {
        problems.push(problem(path, error));
      }
    }
    if (entries.length > 0 || !more) await tell();
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

/**
 * The names that can be read, also when the folder is damaged further on. Each is one string of its bytes, a NUL and the inode's number:
 * a million of them take a tenth of the memory of objects, and sort by the bytes.
 */
async function sorted(files: ExtVolume, folder: Folder, problems: ProblemDocument[]): Promise<string[]> {
  const out: string[] = [];
  try {
    for await (const { name, inode } of files.entries(folder.inode))
      out.push(`${Buffer.from(name).toString("latin1")}\0${inode}`);
  } catch (error) {
    problems.push(problem(folder.path, error));
  }
  return out.sort((a, b) => (a < b ? -1 : 1));
}

function unpacked(found: string): { name: Uint8Array; number: number } {
  const at = found.lastIndexOf("\0");
  return { name: new Uint8Array(Buffer.from(found.slice(0, at), "latin1")), number: Number(found.slice(at + 1)) };
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
