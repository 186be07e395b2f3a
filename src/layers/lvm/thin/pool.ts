import { struct } from "../../../bytes/struct.ts";
import type { BlockDevice } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";
import type { Finding } from "../../../core/finding.ts";
import { safeNumber } from "../../../core/numbers.ts";
import { KINDS, METADATA_BLOCK, MetadataBlocks } from "../persistent-data/blocks.ts";
import { Btree } from "../persistent-data/btree.ts";
import { SpaceMap } from "../persistent-data/space-map.ts";
import type { ThinPoolSegment } from "../segments.ts";

/** drivers/md/dm-thin-metadata.c: THIN_SUPERBLOCK_MAGIC. */
const MAGIC = 27022010n;
/** Version 1 differs in what the tools may do only. */
const VERSIONS: ReadonlySet<number> = new Set([1, 2]);
/** THIN_METADATA_NEEDS_CHECK_FLAG. */
const NEEDS_CHECK = 0x1;

const SUPERBLOCK = struct("thin_disk_superblock", "little", {
  flags: { at: 4, type: "u32", ref: "drivers/md/dm-thin-metadata.c: struct thin_disk_superblock" },
  magic: { at: 32, type: "u64" },
  version: { at: 40, type: "u32" },
  transaction: { at: 48, type: "u64", ref: "trans_id" },
  dataSpaceMap: { at: 64, type: "bytes", length: 128, ref: "data_space_map_root" },
  metadataSpaceMap: { at: 192, type: "bytes", length: 128, ref: "metadata_space_map_root" },
  mappingRoot: { at: 320, type: "u64", ref: "data_mapping_root" },
  detailsRoot: { at: 328, type: "u64", ref: "device_details_root" },
  blockSize: { at: 336, type: "u32", ref: "data_block_size, sectors" },
  metadataBlockSize: { at: 340, type: "u32", ref: "sectors" },
  metadataBlocks: { at: 344, type: "u64", ref: "metadata_nr_blocks" },
  compatReadOnly: { at: 356, type: "u32", ref: "compat_ro_flags" },
  incompatible: { at: 360, type: "u32", ref: "incompat_flags" },
});

/** What the pool knows of one thin device. */
export interface ThinDevice {
  /** Virtual block → data block and time, 8 bytes. */
  readonly mappings: Btree;
  /** Whether no other device's tree leads to the mapping of a virtual block: no node on the way to it is shared. */
  isOwnPath(block: number): Promise<boolean>;
  /** The pool's time when the device was last snapshotted: blocks that are older may be shared. */
  readonly snapshotTime: number;
}

/** An opened thin pool. */
export interface ThinPool {
  /** Bytes; a multiple of 64 KiB. */
  readonly blockSize: number;
  readonly data: BlockDevice;
  readonly dataReferences: SpaceMap;
  readonly findings: readonly Finding[];
  /** Why nothing must be written, or null. */
  readonly readOnly: string | null;
  /** Throws when the pool does not have the device. */
  device(id: number): Promise<ThinDevice>;
  corrupt(message: string): StorageError;
}

/**
 * Reads a pool's superblock and holds it against what LVM says of the pool; the trees are read when they are needed
 * (drivers/md/dm-thin-metadata.c: __open_metadata, __open_device).
 */
export async function openThinPool(
  name: string,
  segment: ThinPoolSegment,
  metadata: BlockDevice,
  data: BlockDevice,
): Promise<ThinPool> {
  const blocks = new MetadataBlocks(metadata, `metadata of thin pool ${name}`);
  const s = await blocks.get(KINDS.thinSuperblock, 0, (bytes) => SUPERBLOCK.decode(bytes));
  const refuse = (feature: string, message: string, hint?: string) =>
    new StorageError("unsupported", `thin pool ${name}: ${message}`, { layer: "lvm", feature, hint });
  if (s.magic !== MAGIC) throw blocks.corrupt(`its superblock has the magic ${s.magic}`, 0);
  if (!VERSIONS.has(s.version)) throw refuse("thin pool version", `version ${s.version} is not known`);
  if (s.incompatible !== 0) throw refuse("thin pool features", `it has incompatible features (${s.incompatible})`);
  if (s.metadataBlockSize * 512 !== METADATA_BLOCK)
    throw refuse("thin pool metadata block size", `its metadata has blocks of ${s.metadataBlockSize * 512} bytes`);
  const blockSize = s.blockSize * 512;
  if (blockSize !== segment.chunkSize) {
    throw blocks.corrupt(`its superblock speaks of blocks of ${blockSize} bytes, LVM of ${segment.chunkSize}`, 0);
  }
  if (blockSize === 0 || blockSize % (64 * 1024) !== 0) throw blocks.corrupt(`blocks of ${blockSize} bytes`, 0);
  if (s.metadataBlocks * BigInt(METADATA_BLOCK) > BigInt(metadata.size)) {
    throw blocks.corrupt(`${s.metadataBlocks} blocks of metadata do not fit into ${metadata.size} bytes`, 0);
  }
  checkTransaction(segment, s.transaction, refuse);
  const { findings, readOnly } = judge(name, s.flags, s.compatReadOnly);
  const mappings = new Btree(blocks, safeNumber(s.mappingRoot, "the root of the mappings", "lvm"), 8);
  const metadataReferences = new SpaceMap(blocks, s.metadataSpaceMap, "metadata");
  const details = new Btree(blocks, safeNumber(s.detailsRoot, "the root of the device details", "lvm"), 24);
  return {
    blockSize,
    data,
    dataReferences: new SpaceMap(blocks, s.dataSpaceMap, "data"),
    findings,
    readOnly,
    async device(id) {
      const detail = await details.find(id);
      if (!detail) {
        throw refuse(
          "thin device",
          `it does not have device ${id} yet`,
          "LVM makes it when the pool is next activated",
        );
      }
      const root = await mappings.find(id);
      if (!root) throw blocks.corrupt(`device ${id} has details, but no mappings`, null);
      const own = new Btree(
        blocks,
        safeNumber(root.getBigUint64(0, true), "the root of a device's mappings", "lvm"),
        8,
      );
      return {
        mappings: own,
        snapshotTime: detail.getUint32(20, true),
        async isOwnPath(block) {
          // The tree of devices above may be shared with a snapshot of the metadata, which keeps no data as it was.
          for (const node of (await own.leaf(block)).path) {
            if ((await metadataReferences.references(node)) !== 1) return false;
          }
          return true;
        },
      };
    },
    corrupt: (message) => blocks.corrupt(message, null),
  };
}

type Refuse = (feature: string, message: string, hint?: string) => StorageError;

/** LVM does not activate a pool whose transaction differs from its own, except for messages it has still to send (lib/activate/dev_manager.c). */
function checkTransaction(segment: ThinPoolSegment, there: bigint, refuse: Refuse): void {
  const expected = BigInt(segment.transactionId);
  if (there === expected || (segment.messages && there === expected - 1n)) return;
  throw refuse(
    "thin pool transaction",
    `its transaction is ${there}, LVM expects ${expected}: one of the two is from another time`,
    'LVM refuses such a pool too; lvmthin(7), "Metadata check and repair"',
  );
}

function judge(name: string, flags: number, compatReadOnly: number): Pick<ThinPool, "findings" | "readOnly"> {
  if (flags % 2 === NEEDS_CHECK) {
    const message = `thin pool ${name} is marked as needing a check: its metadata may be damaged (thin_check, lvconvert --repair)`;
    return {
      findings: [{ severity: "warning", code: "lvm-thin-needs-check", message, layer: "lvm" }],
      readOnly: "its thin pool is marked as needing a check",
    };
  }
  if (compatReadOnly === 0) return { findings: [], readOnly: null };
  return { findings: [], readOnly: "its thin pool has features that are not known here" };
}
