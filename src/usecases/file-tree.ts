import type { BlockDevice, Extent, IoOptions } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { findPath } from "../extfs/path.ts";
import type { ExtInode, ExtVolume } from "../extfs/volume.ts";
import { findVolume } from "../stack/selectors.ts";
import { openFiles } from "./inside.ts";
import { openForInspection } from "./open-for-reading.ts";
import type { SourceOptions } from "./source-options.ts";

export interface FilesOptions extends SourceOptions {
  /** Selector of an ext volume. */
  readonly volume: string;
  /** From the root of the volume, with or without a leading slash. */
  readonly path: string;
}

/** The opened volume and the file that `path` means in it. */
export interface OpenedFiles {
  readonly files: ExtVolume;
  readonly selector: string;
  readonly inode: ExtInode;
  /** Bytes of the volume: no file can have more data than that. */
  readonly volumeSize: number;
}

/** Opens the sources, the volume and the path, and closes all of it after `work`. A last symbolic link is followed when `followLast`. */
export async function withFiles<T>(
  options: FilesOptions,
  followLast: boolean,
  work: (opened: OpenedFiles) => Promise<T>,
): Promise<T> {
  await using opened = await openForInspection(options);
  const volume = findVolume(opened.stack.tree, options.volume);
  const { limits = DEFAULT_LIMITS, signal, note } = options;
  await using files = await openFiles(volume, { limits, signal, note });
  const inode = await findPath(files, options.path, { followLast });
  return await work({ files, selector: volume.selector, inode, volumeSize: volume.size });
}

/**
 * The extents of a file, as long as they are possible: pointers that lead to the same blocks again and again could make a small disk
 * give data without end. `budget` is shared by all files of one call.
 */
export async function* boundedExtents(
  content: BlockDevice,
  budget: { left: number },
  io: IoOptions,
): AsyncIterable<Extent> {
  for await (const extent of content.extents(0, content.size, io)) {
    if (extent.kind === "data") budget.left -= extent.length;
    if (budget.left < 0) {
      throw new StorageError("corrupt", "its files claim more data than the volume can hold", {
        layer: "ext",
        hint: "blocks are used more than once; unterbau check shows it",
      });
    }
    yield extent;
  }
}
