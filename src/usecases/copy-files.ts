import { closeSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { withinLimit } from "../core/numbers.ts";
import type { ExtInode, ExtVolume, FileType } from "../extfs/volume.ts";
import { NewFolder, setAttribute, setSize, writeAll } from "../host/new-folder.ts";
import type { CopyDocument, ProblemDocument } from "./documents.ts";
import { boundedExtents, type FilesOptions, withFiles } from "./file-tree.ts";
import { joined, problem, seenAgain } from "./list-files.ts";

const CHUNK = 1024 * 1024;
/** setuid and setgid. */
const SET_ID = 0o6000;

export interface CopyOptions extends FilesOptions {
  /** On the host: a folder to put it into, or a name that is not there yet. */
  readonly destination: string;
  readonly recursive: boolean;
  /** Also devices, fifos, setuid and setgid bits and `security.*` attributes: what gives a guest's file power over the host. */
  readonly special: boolean;
  readonly onFile?: ((path: string) => void) | undefined;
}

/** Bits of st_mode for mknod. */
const NODES: Partial<Record<FileType, number>> = { char: 0o020000, block: 0o060000, fifo: 0o010000 };

/**
 * Copies a file, or with `recursive` a folder, out of a volume: modes, times, holes, hard links, user attributes and access lists, and as
 * root the owners. Nothing on the host is overwritten or followed. What cannot be copied is named in `problems`; the rest is copied all the same.
 */
export async function copyFiles(options: CopyOptions): Promise<CopyDocument> {
  return withFiles(options, true, async ({ files, selector, inode, volumeSize }) => {
    if (inode.type === "directory" && !options.recursive) {
      throw new StorageError("usage", `${options.path} is a folder`, { layer: "ext", hint: "-r copies it whole" });
    }
    // A link as the path's end means what it leads to, as in cp without -P; inside a tree links stay links.
    const { folder, name } = destinationOf(options);
    const into = NewFolder.existing(folder);
    try {
      const copy = new Copy(files, into, options, volumeSize);
      await copy.run(inode, new Uint8Array(Buffer.from(name)));
      return {
        schema: "unterbau/cp/1",
        volume: selector,
        path: options.path,
        destination: resolve(folder, name),
        ...copy.counts,
        problems: copy.problems,
      };
    } finally {
      into[Symbol.dispose]();
    }
  });
}

/** An existing folder takes the copy under its own name, else the destination is the name of the copy. */
function destinationOf({ destination, path }: CopyOptions): { folder: string; name: string } {
  const isFolder = (p: string): boolean => {
    try {
      return statSync(p).isDirectory();
    } catch {
      return false;
    }
  };
  if (isFolder(destination)) {
    const name = basename(resolve("/", path));
    // The root of a volume has no name of its own.
    if (name !== "") return { folder: destination, name };
    throw new StorageError("usage", `${destination} is there already`, {
      hint: "name a place that is not there yet for the whole volume",
    });
  }
  const folder = dirname(resolve(destination));
  if (isFolder(folder)) return { folder, name: basename(resolve(destination)) };
  throw new StorageError("usage", `there is no folder ${folder}`, { hint: "make it first" });
}

class Copy {
  readonly counts = { files: 0, folders: 0, links: 0, special: 0, bytes: 0 };
  readonly problems: ProblemDocument[] = [];
  readonly #files: ExtVolume;
  readonly #top: NewFolder;
  readonly #options: CopyOptions;
  readonly #limits: Limits;
  readonly #root = process.getuid?.() === 0;
  readonly #budget: { left: number };
  /** Folders met so far. */
  readonly #seen = new Set<number>();
  /** Where the first copy of each file with several names is: names from the top down. */
  readonly #first = new Map<number, readonly Uint8Array[]>();

  constructor(files: ExtVolume, top: NewFolder, options: CopyOptions, volumeSize: number) {
    this.#files = files;
    this.#top = top;
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#budget = { left: volumeSize };
  }

  async run(inode: ExtInode, name: Uint8Array): Promise<void> {
    await this.#entry(inode, this.#top, [name], this.#options.path);
  }

  async #entry(inode: ExtInode, into: NewFolder, way: readonly Uint8Array[], path: string): Promise<void> {
    const name = way[way.length - 1]!;
    this.#options.signal?.throwIfAborted();
    this.#options.onFile?.(path);
    if (inode.type !== "directory" && inode.links > 1 && this.#hardLink(inode, into, name)) return;
    switch (inode.type) {
      case "directory":
        await this.#folder(inode, into, way, path);
        break;
      case "file":
        await this.#file(inode, into, name, path);
        break;
      case "symlink":
        into.makeSymlink(name, await this.#files.linkTarget(inode));
        if (this.#root) into.setOwner(name, inode.uid, inode.gid);
        into.setTimes(name, inode.atime, inode.mtime);
        this.counts.links++;
        break;
      default:
        this.#special(inode, into, name);
    }
    if (inode.type !== "directory" && inode.links > 1) this.#first.set(inode.number, way);
  }

  #hardLink(inode: ExtInode, into: NewFolder, name: Uint8Array): boolean {
    const way = this.#first.get(inode.number);
    if (way === undefined) return false;
    const opened: NewFolder[] = [];
    try {
      let folder = this.#top;
      for (const step of way.slice(0, -1)) {
        folder = folder.folder(step);
        opened.push(folder);
      }
      into.makeHardLink(name, folder, way[way.length - 1]!);
      this.counts.links++;
      return true;
    } finally {
      for (const folder of opened) folder[Symbol.dispose]();
    }
  }

  async #folder(inode: ExtInode, into: NewFolder, way: readonly Uint8Array[], path: string): Promise<void> {
    if (this.#seen.has(inode.number)) throw seenAgain(inode);
    this.#seen.add(inode.number);
    withinLimit(way.length, this.#limits.extFolderDepth, "extFolderDepth", "folders in folders", "ext");
    const name = way[way.length - 1]!;
    const folder = into.makeFolder(name);
    try {
      await this.#entries(inode, folder, way, path);
      await this.#attributes(inode, folder.fd, path);
    } finally {
      folder[Symbol.dispose]();
    }
    this.#finish(inode, into, name);
    this.counts.folders++;
  }

  async #entries(inode: ExtInode, folder: NewFolder, way: readonly Uint8Array[], path: string): Promise<void> {
    try {
      for await (const entry of this.#files.entries(inode)) {
        const below = joined(path, entry.name);
        try {
          await this.#entry(await this.#files.inode(entry.inode), folder, [...way, entry.name], below);
        } catch (error) {
          this.problems.push(problem(below, error));
        }
      }
    } catch (error) {
      this.problems.push(problem(path, error));
    }
  }

  async #file(inode: ExtInode, into: NewFolder, name: Uint8Array, path: string): Promise<void> {
    // Before anything is made on the host: an encrypted file leaves nothing behind.
    const content = this.#files.content(inode);
    const fd = into.makeFile(name);
    try {
      const io = { signal: this.#options.signal };
      for await (const extent of boundedExtents(content, this.#budget, io)) {
        if (extent.kind !== "data") continue;
        for (let at = extent.offset; at < extent.offset + extent.length; ) {
          const length = Math.min(CHUNK, extent.offset + extent.length - at);
          this.#options.signal?.throwIfAborted();
          writeAll(fd, await readBytes(content, at, length, io), at);
          at += length;
          this.counts.bytes += length;
        }
      }
      setSize(fd, inode.size);
      await this.#attributes(inode, fd, path);
    } catch (error) {
      // Whoever finds the file must not take it for whole. What a damaged file system gives stays for whoever wants to save it.
      const damaged = error instanceof StorageError && error.code === "corrupt";
      if (!damaged) into.removeFile(name);
      if (damaged)
        throw new StorageError("corrupt", `only a part of it was copied: ${error.message}`, {
          layer: error.layer,
          offset: error.offset,
        });
      throw error;
    } finally {
      closeSync(fd);
    }
    this.#finish(inode, into, name);
    this.counts.files++;
  }

  #special(inode: ExtInode, into: NewFolder, name: Uint8Array): void {
    const bits = NODES[inode.type];
    if (bits === undefined) throw skipped("sockets are not copied");
    if (!this.#options.special) throw skipped(`a ${inode.type} is copied with --special only`);
    if (inode.type !== "fifo" && !this.#root) throw skipped("only root can make devices");
    into.makeNode(name, bits + 0o600, inode.device?.major ?? 0, inode.device?.minor ?? 0);
    this.#finish(inode, into, name);
    this.counts.special++;
  }

  /** Owner, then mode (a change of owner takes setuid away), then times. */
  #finish(inode: ExtInode, into: NewFolder, name: Uint8Array): void {
    if (this.#root) into.setOwner(name, inode.uid, inode.gid);
    const keepsSetId = inode.type === "directory" || (this.#options.special && this.#root);
    into.setMode(name, keepsSetId ? inode.permissions : inode.permissions - (inode.permissions & SET_ID));
    into.setTimes(name, inode.atime, inode.mtime);
  }

  /** As far as the host's file system takes them. */
  async #attributes(inode: ExtInode, fd: number, path: string): Promise<void> {
    for (const { name, value } of await this.#files.attributes(inode)) {
      const wanted = name.startsWith("user.") || name.startsWith("system.posix_acl_") || this.#options.special;
      if (wanted && !setAttribute(fd, name, value))
        this.problems.push({ path, message: `the attribute ${name} could not be set on the copy` });
    }
  }
}

function skipped(why: string): StorageError {
  return new StorageError("unsupported", why);
}
