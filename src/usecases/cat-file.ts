import { readBytes } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { boundedExtents, type FilesOptions, withFiles } from "./file-tree.ts";

const CHUNK = 1024 * 1024;

/** Hands the bytes of a file in a volume to `sink` in order. */
export async function catFile(options: FilesOptions, sink: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  await withFiles(options, true, async ({ files, inode, volumeSize }) => {
    if (inode.type !== "file") {
      throw new StorageError("usage", `${options.path} is a ${inode.type}`, {
        layer: "ext",
        hint: inode.type === "directory" ? "unterbau ls shows what is in it" : undefined,
      });
    }
    const content = files.content(inode);
    const io = { signal: options.signal };
    const zeros = new Uint8Array(CHUNK);
    for await (const extent of boundedExtents(content, { left: volumeSize }, io)) {
      for (let at = extent.offset; at < extent.offset + extent.length; ) {
        const length = Math.min(CHUNK, extent.offset + extent.length - at);
        options.signal?.throwIfAborted();
        await sink(extent.kind === "data" ? await readBytes(content, at, length, io) : zeros.subarray(0, length));
        at += length;
      }
    }
  });
}
