import { isZero } from "../../../bytes/integers.ts";
import { struct } from "../../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../../core/device.ts";
import { StorageError } from "../../../core/errors.ts";
import type { Finding } from "../../../core/finding.ts";
import type { Limits } from "../../../core/limits.ts";
import { safeNumber, withinLimit } from "../../../core/numbers.ts";
import { slice } from "../../../core/slice.ts";
import { ChunkMap, chunkOverlay } from "../chunk-overlay.ts";
import { arrayValues } from "../persistent-data/array.ts";
import { KINDS, METADATA_BLOCK, MetadataBlocks } from "../persistent-data/blocks.ts";

/** drivers/md/dm-cache-metadata.c: CACHE_SUPERBLOCK_MAGIC; the source writes 06142003, which is octal. */
const MAGIC = 0o6142003n;
/** M_VALID: the cache block holds an origin block; the number of that one begins at bit 16. */
const VALID = 1;
/** enum superblock_flag_bits: CLEAN_SHUTDOWN, NEEDS_CHECK. */
const CLEAN = 1;
const NEEDS_CHECK = 2;

const SUPERBLOCK = struct("cache_disk_superblock", "little", {
  flags: { at: 4, type: "u32", ref: "drivers/md/dm-cache-metadata.c: struct cache_disk_superblock" },
  magic: { at: 32, type: "u64" },
  version: { at: 40, type: "u32" },
  mappingRoot: { at: 192, type: "u64" },
  blockSize: { at: 232, type: "u32", ref: "data_block_size, sectors" },
  metadataBlockSize: { at: 236, type: "u32", ref: "sectors" },
  cacheBlocks: { at: 240, type: "u32" },
  incompatible: { at: 252, type: "u32", ref: "incompat_flags" },
});

export interface CacheOptions {
  readonly name: string;
  readonly origin: BlockDevice;
  readonly metadata: BlockDevice;
  readonly data: BlockDevice;
  /** Bytes of a block, as LVM has it; 0: it does not say. */
  readonly chunkSize: number;
  /** `writethrough`, `writeback` or `passthrough`. */
  readonly mode: string | null;
  readonly limits: Pick<Limits, "lvmCacheBlocks">;
}

/**
 * A cached LV, read as the kernel reads it: what the metadata maps to the cache comes from there, all else from the origin. That is right
 * in every mode, and with blocks that were not written back: the kernel itself trusts the mapping after a crash (it then takes
 * every block of the cache as dirty). For reading.
 */
export async function openCache(
  o: CacheOptions,
): Promise<{ readonly device: BlockDevice; readonly findings: Finding[] }> {
  const whole = slice(o.origin, 0, o.origin.size, "lvm");
  // LVM clears the metadata of a new cache; the kernel formats it when it is first used.
  if (isZero(await readBytes(o.metadata, 0, METADATA_BLOCK))) return { device: whole, findings: [] };
  const blocks = new MetadataBlocks(o.metadata, `metadata of the cache of ${o.name}`);
  const s = await blocks.get(KINDS.cacheSuperblock, 0, (bytes) => SUPERBLOCK.decode(bytes));
  const refuse = (feature: string, message: string) =>
    new StorageError("unsupported", `the cache of ${o.name}: ${message}`, { layer: "lvm", feature });
  if (s.magic !== MAGIC) throw blocks.corrupt(`its superblock has the magic ${s.magic}`, 0);
  if (s.version !== 1 && s.version !== 2) throw refuse("cache metadata version", `version ${s.version} is not known`);
  if (s.incompatible !== 0) throw refuse("cache features", `it has incompatible features (${s.incompatible})`);
  if (s.metadataBlockSize * 512 !== METADATA_BLOCK) {
    throw refuse("cache metadata block size", `its metadata has blocks of ${s.metadataBlockSize * 512} bytes`);
  }
  const chunk = s.blockSize * 512;
  if (chunk === 0 || (o.chunkSize !== 0 && chunk !== o.chunkSize)) {
    throw blocks.corrupt(`its superblock speaks of blocks of ${chunk} bytes, LVM of ${o.chunkSize}`, 0);
  }
  if (s.cacheBlocks * chunk > o.data.size) {
    throw blocks.corrupt(`${s.cacheBlocks} blocks do not fit into a cache of ${o.data.size} bytes`, 0);
  }
  withinLimit(s.cacheBlocks, o.limits.lvmCacheBlocks, "lvmCacheBlocks", "blocks of a cache", "lvm");
  const findings = judge(o.name, s.flags);
  if (o.mode === "passthrough") return { device: whole, findings };
  const root = safeNumber(s.mappingRoot, "the root of the cache's mappings", "lvm");
  const load = () => readMappings(blocks, root, s.cacheBlocks, chunk, o.name);
  return { device: chunkOverlay({ origin: o.origin, store: o.data, size: o.origin.size, chunk, load }), findings };
}

async function readMappings(
  blocks: MetadataBlocks,
  root: number,
  count: number,
  chunk: number,
  name: string,
): Promise<ChunkMap> {
  const pairs: [number, number][] = [];
  let block = 0;
  for await (const value of arrayValues(blocks, root, count)) {
    const low = value.getUint32(0, true);
    const originBlock = value.getUint32(4, true) * 65536 + Math.floor(low / 65536);
    if (low % 2 === VALID) pairs.push([originBlock, block * chunk]);
    block++;
  }
  return new ChunkMap(pairs, `the cache of ${name}`);
}

function judge(name: string, flags: number): Finding[] {
  const findings: Finding[] = [];
  if (Math.floor(flags / NEEDS_CHECK) % 2 === 1) {
    const message = `the cache of ${name} is marked as needing a check: its metadata may be damaged (cache_check, lvconvert --repair)`;
    findings.push({ severity: "warning", code: "lvm-cache-needs-check", message, layer: "lvm" });
  }
  if (flags % 2 !== CLEAN) {
    const message = `the cache of ${name} was not shut down in order: the kernel will write all of its blocks back`;
    findings.push({ severity: "info", code: "lvm-cache-dirty", message, layer: "lvm" });
  }
  return findings;
}
