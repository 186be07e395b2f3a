import { checked } from "../core/checked.ts";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { fromMapping, type Segment } from "../core/mapping.ts";
import { memoryDevice } from "../core/memory-device.ts";
import type { ExtBlocks } from "./blocks.ts";
import { type BlockRun, extentAt, NodeCache } from "./extent-tree.ts";
import { indirectAt } from "./indirect.ts";
import { type ExtInode, I_BLOCK_SIZE, InodeFlag } from "./inode.ts";
import { inlineRest } from "./xattr.ts";

/** Throws `unsupported` for an inode whose content is ciphertext. */
export function refuseEncrypted(inode: ExtInode): void {
  if (!(inode.flags & InodeFlag.ENCRYPT)) return;
  throw new StorageError("unsupported", `inode ${inode.number} is encrypted by the guest (fscrypt)`, {
    layer: "ext",
    feature: "encrypt",
    hint: "its key is the guest's; read it in the guest",
  });
}

/**
 * The bytes of an inode as a read-only device of i_size bytes. Holes are known; what was allocated and never written is "zero".
 * Throws `unsupported` for encrypted content. Blocks are found, and judged, when they are read.
 */
export function contentOf(blocks: ExtBlocks, inode: ExtInode): BlockDevice {
  refuseEncrypted(inode);
  if (inode.flags & InodeFlag.INLINE_DATA) return inlineContent(inode);
  const { blockSize } = blocks.geometry;
  const runAt = finder(blocks, inode);
  return checked(
    fromMapping({
      size: inode.size,
      caps: {
        ...blocks.device.caps,
        writable: false,
        alignment: 1,
        sectorSize: 512,
        optimalIo: blockSize,
        extents: true,
        zero: false,
        discard: false,
      },
      layer: "ext",
      below: [],
      async *map(offset, length): AsyncIterable<Segment> {
        const end = offset + length;
        for (let at = offset; at < end; ) {
          const logical = Math.floor(at / blockSize);
          const run = await runAt(logical);
          const inRun = at - run.logical * blockSize;
          const part = Math.min(end - at, run.count * blockSize - inRun);
          if (run.physical === null) yield { offset: at, length: part, kind: run.allocated ? "zero" : "hole" };
          else {
            const place = run.physical * blockSize + inRun;
            yield { offset: at, length: part, kind: "data", device: blocks.device, at: place };
          }
          at += part;
        }
      },
    }),
    "ext",
  );
}

/** A function from a logical block to the run that holds it, which remembers the last run. */
function finder(blocks: ExtBlocks, inode: ExtInode): (logical: number) => Promise<BlockRun> {
  const nodes = new NodeCache();
  let last: BlockRun | null = null;
  return async (logical) => {
    if (last && logical >= last.logical && logical < last.logical + last.count) return last;
    last =
      inode.flags & InodeFlag.EXTENTS
        ? await extentAt(blocks, inode, logical, nodes)
        : await indirectAt(blocks, inode, logical);
    return last;
  };
}

/** i_block and then the attribute `system.data` (inlinedata.rst); zeros where i_size says more. */
function inlineContent(inode: ExtInode): BlockDevice {
  const rest = inlineRest(inode);
  const held = new Uint8Array(I_BLOCK_SIZE + rest.length);
  held.set(inode.block);
  held.set(rest, I_BLOCK_SIZE);
  if (inode.size > held.length) {
    throw new StorageError("corrupt", `inode ${inode.number} has ${inode.size} bytes, but holds only ${held.length}`, {
      layer: "ext",
      offset: inode.offset,
    });
  }
  return memoryDevice(held.slice(0, inode.size), { writable: false });
}
