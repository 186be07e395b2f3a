import { crc32cRaw } from "../../bytes/crc.ts";
import { view } from "../../bytes/struct.ts";
import { type BlockDevice, type IoOptions, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { ExtCompat } from "../../filesystems/ext-features.ts";
import { type ExtBlocks, extCorrupt } from "../blocks.ts";
import { contentOf } from "../content.ts";
import { readInode } from "../inode.ts";
import {
  BlockType,
  JOURNAL_CHECKSUM_AT,
  JOURNAL_MAGIC,
  JOURNAL_SUPERBLOCK,
  JOURNAL_SUPERBLOCK_SIZE,
  JournalCompat,
  JournalIncompat,
  type JournalSuperblock,
} from "./format.ts";

/** JBD2_DEFAULT_FAST_COMMIT_BLOCKS and JBD2_MIN_JOURNAL_BLOCKS. */
const DEFAULT_FAST_COMMIT_BLOCKS = 256;
const MIN_BLOCKS = 1024;
const CHECKSUM_CRC32C = 4;
const KNOWN_INCOMPAT =
  JournalIncompat.REVOKE |
  JournalIncompat.BIT64 |
  JournalIncompat.ASYNC_COMMIT |
  JournalIncompat.CSUM_V2 |
  JournalIncompat.CSUM_V3 |
  JournalIncompat.FAST_COMMIT;

/** How the way out of a state that only a kernel or e2fsck can end is told. */
export const RECOVER_HINT =
  "recover it first: unterbau check --repair lets e2fsck replay the journal (undo takes it back)";

export interface Journal {
  readonly superblock: JournalSuperblock;
  /** The log is used as a ring of blocks `[first, end)`. */
  readonly first: number;
  readonly end: number;
  readonly blockSize: number;
  /** Seed of all CRC-32Cs; null without CSUM_V2 and CSUM_V3. */
  readonly checksumSeed: number | null;
  readonly wideBlocks: boolean;
  /** First block of the fast commit area, or null. */
  readonly fastCommits: number | null;
  /** Block `number` of the journal; `corrupt` when it lies outside. */
  read(number: number): Promise<Uint8Array>;
}

/** Opens the internal journal and validates its superblock. Throws `unsupported` for a journal on another device and unknown features. */
export async function openJournal(blocks: ExtBlocks, io: IoOptions): Promise<Journal> {
  const { superblock, compat, blockSize } = blocks.geometry;
  if (!(compat & ExtCompat.HAS_JOURNAL)) throw extCorrupt("it needs a journal's replay, but has no journal");
  if (superblock.journalInode === 0) {
    throw new StorageError("unsupported", "it needs the replay of a journal that lies on another device", {
      layer: "ext",
      feature: "external journal",
      hint: "let the guest mount it, or run e2fsck with its journal device",
    });
  }
  const inode = await readInode(blocks, superblock.journalInode);
  if (inode.type !== "file") throw extCorrupt(`the journal's inode ${inode.number} is a ${inode.type}`, inode.offset);
  const content = contentOf(blocks, inode);
  if (content.size < blockSize) throw extCorrupt("the journal is shorter than a block", inode.offset);
  const raw = await readBytes(content, 0, JOURNAL_SUPERBLOCK_SIZE, io);
  return journalOf(raw, content, blockSize, io);
}

function journalOf(raw: Uint8Array, content: BlockDevice, blockSize: number, io: IoOptions): Journal {
  const sb = JOURNAL_SUPERBLOCK.decode(raw);
  const old = sb.type === BlockType.SUPERBLOCK_V1;
  if (sb.magic !== JOURNAL_MAGIC || (!old && sb.type !== BlockType.SUPERBLOCK_V2))
    throw extCorrupt("the journal has no superblock");
  const incompat = old ? 0 : sb.incompat;
  const compat = old ? 0 : sb.compat;
  if (incompat & ~KNOWN_INCOMPAT) {
    const feature = `journal_incompat_${((incompat & ~KNOWN_INCOMPAT) >>> 0).toString(16)}`;
    throw new StorageError("unsupported", `the journal has a feature that is not known (${feature})`, {
      layer: "ext",
      feature,
      hint: RECOVER_HINT,
    });
  }
  const sums = incompat & (JournalIncompat.CSUM_V2 | JournalIncompat.CSUM_V3);
  if (sums === (JournalIncompat.CSUM_V2 | JournalIncompat.CSUM_V3) || (sums && compat & JournalCompat.CHECKSUM))
    throw extCorrupt("the journal claims two kinds of checksums");
  if (sums) {
    const copy = raw.slice();
    view(copy).setUint32(JOURNAL_CHECKSUM_AT, 0);
    if (sb.checksumType !== CHECKSUM_CRC32C || crc32cRaw(copy, 0xffffffff) !== sb.checksum)
      throw extCorrupt("the journal's superblock has a wrong checksum");
  }
  if (sb.blockSize !== blockSize) throw extCorrupt(`the journal has blocks of ${sb.blockSize} bytes`);
  if (sb.blocks * blockSize > content.size) throw extCorrupt(`the journal claims ${sb.blocks} blocks`);
  let end = sb.blocks;
  if (incompat & JournalIncompat.FAST_COMMIT) {
    const area = sb.fastCommitBlocks || DEFAULT_FAST_COMMIT_BLOCKS;
    if (end - area >= MIN_BLOCKS) end -= area;
  }
  if (sb.first < 1 || sb.first >= end) throw extCorrupt(`the journal's log begins at block ${sb.first} of ${end}`);
  if (sb.start !== 0 && (sb.start < sb.first || sb.start >= end))
    throw extCorrupt(`the journal's first transaction is said to be at block ${sb.start}`);
  return {
    superblock: { ...sb, incompat, compat },
    first: sb.first,
    end,
    blockSize,
    checksumSeed: sums ? crc32cRaw(sb.uuid, 0xffffffff) : null,
    wideBlocks: (incompat & JournalIncompat.BIT64) !== 0,
    fastCommits: incompat & JournalIncompat.FAST_COMMIT && end + 1 < sb.blocks ? end + 1 : null,
    read(number) {
      if (number < 0 || number >= sb.blocks) throw extCorrupt(`the journal has no block ${number}`);
      return readBytes(content, number * blockSize, blockSize, io);
    },
  };
}
