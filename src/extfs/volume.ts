import type { BlockDevice } from "../core/device.ts";
import { readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../core/limits.ts";
import { Overlay } from "../core/overlay.ts";
import { ExtIncompat, extFeatureNames } from "../filesystems/ext-features.ts";
import { attributeValues, type ExtAttribute } from "./attributes.ts";
import { ExtBlocks, extCorrupt } from "./blocks.ts";
import { contentOf, refuseEncrypted } from "./content.ts";
import { type DirectoryEntry, entriesOf } from "./directory.ts";
import { type ExtGeometry, readGeometry } from "./geometry.ts";
import { type ExtInode, I_BLOCK_SIZE, InodeFlag, ROOT_INODE, readInode } from "./inode.ts";
import { replayJournal } from "./journal/replay.ts";

export type { DirectoryEntry } from "./directory.ts";
export type { ExtInode, FileType, Timestamp } from "./inode.ts";

/** Incompatible features that this reader knows: with any other one the bytes may mean something else. */
const KNOWN =
  ExtIncompat.FILETYPE |
  ExtIncompat.RECOVER |
  ExtIncompat.META_BG |
  ExtIncompat.EXTENTS |
  ExtIncompat.BIT64 |
  ExtIncompat.MMP |
  ExtIncompat.FLEX_BG |
  ExtIncompat.EA_INODE |
  ExtIncompat.CSUM_SEED |
  ExtIncompat.LARGE_DIR |
  ExtIncompat.INLINE_DATA |
  ExtIncompat.ENCRYPT |
  ExtIncompat.CASEFOLD;

/** Longest target of a symbolic link: a path is at most 4096 bytes with its NUL. */
const LONGEST_TARGET = 4095;

/** The files of an ext2, ext3 or ext4 volume, for reading. Everything throws `corrupt` where the disk contradicts itself. */
export interface ExtVolume extends AsyncDisposable {
  readonly geometry: ExtGeometry;
  /** What a person should know: that a journal was replayed, and how far. */
  readonly notes: readonly string[];
  root(): Promise<ExtInode>;
  inode(number: number): Promise<ExtInode>;
  /** The content of a file. Throws `unsupported` when it is encrypted, `usage` when it is no regular file. */
  content(inode: ExtInode): BlockDevice;
  /** Names in a directory, without `.` and `..`. Throws `usage` when it is none. */
  entries(directory: ExtInode): AsyncIterable<DirectoryEntry>;
  /** What a symbolic link holds. */
  linkTarget(inode: ExtInode): Promise<Uint8Array>;
  /** Extended attributes and ACLs in the form of xattr(7). */
  attributes(inode: ExtInode): Promise<readonly ExtAttribute[]>;
}

export interface ExtOptions {
  readonly limits?: Limits | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens the file system on `device`, which is never written. A journal that waits for its replay is replayed into memory first.
 * Throws `unsupported` for features that change what the bytes mean and that are not known here. The device stays the caller's.
 */
export async function openExt(device: BlockDevice, options: ExtOptions = {}): Promise<ExtVolume> {
  const limits = options.limits ?? DEFAULT_LIMITS;
  const io = { signal: options.signal };
  const geometry = await readGeometry(device, limits);
  refuseUnknown(geometry);
  if (!(geometry.incompat & ExtIncompat.RECOVER))
    return new Volume(new ExtBlocks(device, geometry, io), limits, [], null);
  const overlay = new Overlay(device);
  try {
    const notes = await replayJournal(new ExtBlocks(device, geometry, io), overlay, io);
    const after = await readGeometry(overlay, limits);
    refuseUnknown(after);
    return new Volume(new ExtBlocks(overlay, after, io), limits, notes, overlay);
  } catch (error) {
    await overlay[Symbol.asyncDispose]();
    throw error;
  }
}

function refuseUnknown(geometry: ExtGeometry): void {
  const unknown = (geometry.incompat & ~KNOWN) >>> 0;
  if (unknown === 0) return;
  const names = extFeatureNames("incompat", unknown).join(", ");
  throw new StorageError("unsupported", `files cannot be read from an ext file system with the feature ${names}`, {
    layer: "ext",
    feature: names,
  });
}

class Volume implements ExtVolume {
  readonly notes: readonly string[];
  readonly #blocks: ExtBlocks;
  readonly #limits: Limits;
  readonly #overlay: Overlay | null;

  constructor(blocks: ExtBlocks, limits: Limits, notes: readonly string[], overlay: Overlay | null) {
    this.#blocks = blocks;
    this.#limits = limits;
    this.notes = notes;
    this.#overlay = overlay;
  }

  get geometry(): ExtGeometry {
    return this.#blocks.geometry;
  }

  async root(): Promise<ExtInode> {
    const root = await this.inode(ROOT_INODE);
    if (root.type !== "directory") throw extCorrupt("the root is no directory", root.offset);
    return root;
  }

  inode(number: number): Promise<ExtInode> {
    return readInode(this.#blocks, number);
  }

  content(inode: ExtInode): BlockDevice {
    if (inode.type !== "file")
      throw new StorageError("usage", `inode ${inode.number} is a ${inode.type}`, { layer: "ext" });
    return contentOf(this.#blocks, inode);
  }

  entries(directory: ExtInode): AsyncIterable<DirectoryEntry> {
    if (directory.type !== "directory")
      throw new StorageError("usage", `inode ${directory.number} is a ${directory.type}`, { layer: "ext" });
    return entriesOf(this.#blocks, directory, this.#limits);
  }

  async linkTarget(inode: ExtInode): Promise<Uint8Array> {
    if (inode.type !== "symlink")
      throw new StorageError("usage", `inode ${inode.number} is a ${inode.type}`, { layer: "ext" });
    refuseEncrypted(inode);
    const { size } = inode;
    if (size === 0 || size > LONGEST_TARGET)
      throw extCorrupt(`the symbolic link ${inode.number} has a size of ${size}`, inode.offset);
    // A fast link lies in i_block, in place of the pointers.
    if (size < I_BLOCK_SIZE && !(inode.flags & (InodeFlag.EXTENTS | InodeFlag.INLINE_DATA)))
      return inode.block.slice(0, size);
    return readBytes(contentOf(this.#blocks, inode), 0, size);
  }

  attributes(inode: ExtInode): Promise<readonly ExtAttribute[]> {
    return attributeValues(this.#blocks, inode);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#overlay?.[Symbol.asyncDispose]();
  }
}
