import { isPowerOfTwo } from "../../../bytes/integers.ts";
import { struct } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";

/** drivers/md/dm-snap-persistent.c: SNAP_MAGIC ("SnAp"). */
const MAGIC = 0x70416e53;
/** SNAPSHOT_DISK_VERSION. */
const VERSION = 1;
/** dm_exception_store_set_chunk_size wants whole pages at most of 2 GiB; LVM makes 4 KiB to 512 KiB. */
const MAX_CHUNK = 16 * 1024 * 1024;

const HEADER = struct("disk_header", "little", {
  magic: { at: 0, type: "u32", ref: "drivers/md/dm-snap-persistent.c: struct disk_header" },
  valid: { at: 4, type: "u32" },
  version: { at: 8, type: "u32" },
  chunkSize: { at: 12, type: "u32", ref: "sectors" },
});

export interface StoreHeader {
  /** Bytes; a power of two. */
  readonly chunkSize: number;
}

/** Null: the kernel has not used this store yet, the snapshot equals its origin. Throws when the snapshot cannot be used any more. */
export async function readStoreHeader(store: BlockDevice): Promise<StoreHeader | null> {
  const { magic, valid, version, chunkSize: sectors } = HEADER.decode(await readBytes(store, 0, 512));
  if (magic === 0) return null;
  if (magic !== MAGIC) throw storeCorrupt("the snapshot's store has no header", 0);
  if (valid === 0) {
    throw new StorageError("unsupported", "the snapshot is invalid: its store was full, or could not be written", {
      layer: "lvm",
      feature: "invalid snapshot",
      hint: "what it held is lost; its origin is not affected (lvremove the snapshot)",
    });
  }
  if (version !== VERSION) {
    const feature = `snapshot version ${version}`;
    throw new StorageError("unsupported", `${feature} is not known`, { layer: "lvm", feature });
  }
  const chunkSize = sectors * 512;
  if (!isPowerOfTwo(chunkSize) || chunkSize < 512 || chunkSize > MAX_CHUNK) {
    throw storeCorrupt(`the snapshot has chunks of ${chunkSize} bytes`, 12);
  }
  return { chunkSize };
}

export function storeCorrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "lvm", offset });
}
