import { crc32cRaw } from "../../../bytes/crc.ts";
import { view } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";

/** Thin pools and caches keep their metadata in blocks of this size (THIN_METADATA_BLOCK_SIZE, DM_CACHE_METADATA_BLOCK_SIZE). */
export const METADATA_BLOCK = 4096;
/** Decoded blocks that are kept: 16 MiB. A tree of 1 TiB in blocks of 64 KiB has its upper levels in it. */
const KEPT = 4096;

/** What a block is: the number that is mixed into its checksum, and where it says which block it is. */
export interface BlockKind {
  readonly name: string;
  /** *_CSUM_XOR in drivers/md/persistent-data and the targets. */
  readonly salt: number;
  readonly blocknrAt: number;
}

/** dm-btree-spine.c, dm-space-map-common.c, dm-array.c, dm-thin-metadata.c, dm-cache-metadata.c. */
export const KINDS = {
  node: { name: "btree node", salt: 121107, blocknrAt: 8 },
  index: { name: "space map index", salt: 160478, blocknrAt: 8 },
  bitmap: { name: "space map bitmap", salt: 240779, blocknrAt: 8 },
  array: { name: "array block", salt: 595846735, blocknrAt: 16 },
  thinSuperblock: { name: "thin pool superblock", salt: 160774, blocknrAt: 8 },
  cacheSuperblock: { name: "cache superblock", salt: 9031977, blocknrAt: 8 },
} as const satisfies Record<string, BlockKind>;

/** Blocks of one metadata device, verified by checksum and place, the latest ones kept. */
export class MetadataBlocks {
  readonly #device: BlockDevice;
  readonly #what: string;
  readonly #kept = new Map<string, unknown>();

  /** `what` names the device in messages. */
  constructor(device: BlockDevice, what: string) {
    this.#device = device;
    this.#what = what;
  }

  /** `decode` of the block's bytes, or what it gave before; it may judge the block with `corrupt`. */
  async get<T>(kind: BlockKind, block: number, decode: (bytes: Uint8Array) => T): Promise<T> {
    const key = `${kind.name} ${block}`;
    if (this.#kept.has(key)) {
      const known = this.#kept.get(key) as T;
      // Put last: the first is the one to go.
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const decoded = decode(await this.#read(kind, block));
    this.#kept.set(key, decoded);
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    return decoded;
  }

  async #read(kind: BlockKind, block: number): Promise<Uint8Array> {
    const offset = block * METADATA_BLOCK;
    if (!Number.isSafeInteger(offset) || offset + METADATA_BLOCK > this.#device.size) {
      throw this.corrupt(`${kind.name} ${block} would lie beyond the end`, null);
    }
    const bytes = await readBytes(this.#device, offset, METADATA_BLOCK);
    const dv = view(bytes);
    const checksum = (crc32cRaw(bytes.subarray(4), 0xffffffff) ^ kind.salt) >>> 0;
    if (checksum !== dv.getUint32(0, true)) throw this.corrupt(`the checksum of ${kind.name} ${block} is wrong`, block);
    const place = dv.getBigUint64(kind.blocknrAt, true);
    if (place !== BigInt(block)) throw this.corrupt(`${kind.name} ${block} says that it is block ${place}`, block);
    return bytes;
  }

  corrupt(message: string, block: number | null): StorageError {
    const offset = block === null ? undefined : block * METADATA_BLOCK;
    return new StorageError("corrupt", `${this.#what}: ${message}`, { layer: "lvm", offset });
  }
}
