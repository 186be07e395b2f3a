import { crc32cRaw, crc32MsbFirstRaw } from "../../bytes/crc.ts";
import { view } from "../../bytes/struct.ts";
import { safeNumber } from "../../core/numbers.ts";
import { extCorrupt } from "../blocks.ts";
import {
  BlockType,
  COMMIT_BLOCK,
  HEADER_SIZE,
  JOURNAL_HEADER,
  JOURNAL_MAGIC,
  JournalCompat,
  JournalIncompat,
  TagFlag,
} from "./format.ts";
import type { Journal } from "./open.ts";

/** A block that a transaction holds a copy of. */
export interface LoggedBlock {
  /** Where it belongs in the file system. */
  readonly target: number;
  /** Where its copy is in the journal. */
  readonly at: number;
  /** Its first four bytes were zeroed, because they are the journal's magic. */
  readonly escaped: boolean;
  /** As stored: 32 bits with CSUM_V3, the lower 16 with CSUM_V2. */
  readonly checksum: number;
}

export interface Transaction {
  readonly sequence: number;
  readonly blocks: LoggedBlock[];
  readonly revoked: number[];
}

export interface Log {
  /** Committed transactions, oldest first. */
  readonly transactions: readonly Transaction[];
  /** The sequence number that the next one would have. */
  readonly next: number;
  /** A commit block whose checksum is wrong ended the log before its time: the number of that transaction, or null. */
  readonly damaged: number | null;
}

/** A checksum at the end of descriptor and revoke blocks. */
const TAIL = 4;
const UUID = 16;
const REVOKE_HEADER = 16;
const CHECKSUM_CRC32 = 1;
const CHECKSUM_SIZE = 4;
const COMMIT_CHECKSUM_AT = 16;

/**
 * Reads the log from its first transaction to the last that is complete (kernel, fs/jbd2/recovery.c, pass one). What follows is the remains
 * of a cut-off commit or of an older round, and is left out, as the kernel does. Throws `corrupt` where the kernel refuses to mount.
 */
export async function scanLog(journal: Journal): Promise<Log> {
  const { superblock: sb } = journal;
  const transactions: Transaction[] = [];
  let sequence = sb.sequence;
  let current: Transaction = { sequence, blocks: [], revoked: [] };
  let position = sb.start;
  /** A log that goes round without a commit would never end. */
  let left = journal.end - journal.first;
  let suspicious = false;
  let lastCommit = 0n;
  let sum = 0xffffffff;
  const advance = (): number => {
    const at = position;
    if (--left < 0) throw extCorrupt(`the journal's transaction ${sequence} is longer than the journal`);
    position = at + 1 === journal.end ? journal.first : at + 1;
    return at;
  };
  const ended = (damaged: number | null): Log => ({ transactions, next: sequence, damaged });

  while (left > 0) {
    const block = await journal.read(advance());
    const header = JOURNAL_HEADER.decode(block);
    if (header.magic !== JOURNAL_MAGIC || header.sequence !== sequence) break;
    if (header.type === BlockType.DESCRIPTOR) {
      suspicious ||= !tailHolds(journal, block);
      const first = current.blocks.length;
      for (const tag of tagsIn(journal, block)) {
        current.blocks.push({ ...tag, at: advance() });
      }
      if (sb.compat & JournalCompat.CHECKSUM && !suspicious) {
        sum = crc32MsbFirstRaw(block, sum);
        for (const logged of current.blocks.slice(first)) sum = crc32MsbFirstRaw(await journal.read(logged.at), sum);
      }
    } else if (header.type === BlockType.REVOKE) {
      suspicious ||= !tailHolds(journal, block);
      if (!suspicious) for (const revoked of revokedIn(journal, block)) current.revoked.push(revoked);
    } else if (header.type === BlockType.COMMIT) {
      const commit = COMMIT_BLOCK.decode(block);
      // Older than the one before: left from an earlier round of the ring.
      const stale = commit.seconds < lastCommit;
      if (suspicious) {
        if (stale) break;
        throw extCorrupt(`the journal's transaction ${sequence} has a wrong checksum`);
      }
      if (!commitHolds(journal, block, sum)) {
        if (stale || sb.incompat & JournalIncompat.ASYNC_COMMIT) break;
        return ended(sequence);
      }
      transactions.push(current);
      lastCommit = commit.seconds;
      sum = 0xffffffff;
      sequence = (sequence + 1) >>> 0;
      current = { sequence, blocks: [], revoked: [] };
    } else break;
  }
  return ended(null);
}

/** Bytes of one tag (journal.rst, "Descriptor Block"; kernel, journal_tag_bytes). */
function tagSize(journal: Journal): number {
  const { incompat } = journal.superblock;
  if (incompat & JournalIncompat.CSUM_V3) return 16;
  return 12 + (incompat & JournalIncompat.CSUM_V2 ? 2 : 0) - (journal.wideBlocks ? 0 : 4);
}

function* tagsIn(journal: Journal, block: Uint8Array): Iterable<Omit<LoggedBlock, "at">> {
  const dv = view(block);
  const size = tagSize(journal);
  const v3 = (journal.superblock.incompat & JournalIncompat.CSUM_V3) !== 0;
  const end = block.length - (journal.checksumSeed === null ? 0 : TAIL);
  for (let at = HEADER_SIZE; at + size <= end; ) {
    const flags = dv.getUint16(at + 6);
    const high = journal.wideBlocks ? dv.getUint32(at + 8) : 0;
    yield {
      target: high * 0x1_0000_0000 + dv.getUint32(at),
      escaped: (flags & TagFlag.ESCAPED) !== 0,
      checksum: v3 ? dv.getUint32(at + 12) : dv.getUint16(at + 4),
    };
    at += size + (flags & TagFlag.SAME_UUID ? 0 : UUID);
    if (flags & TagFlag.LAST) return;
  }
}

function* revokedIn(journal: Journal, block: Uint8Array): Iterable<number> {
  const dv = view(block);
  const end = dv.getUint32(HEADER_SIZE);
  if (end > block.length - (journal.checksumSeed === null ? 0 : TAIL))
    throw extCorrupt("a revocation in the journal reaches beyond its block");
  const width = journal.wideBlocks ? 8 : 4;
  for (let at = REVOKE_HEADER; at + width <= end; at += width) {
    yield width === 8 ? safeNumber(dv.getBigUint64(at), "a revoked block", "ext") : dv.getUint32(at);
  }
}

/** Descriptor and revoke blocks: CRC-32C over the block with the tail taken as zero. */
function tailHolds(journal: Journal, block: Uint8Array): boolean {
  if (journal.checksumSeed === null) return true;
  const at = block.length - TAIL;
  const covered = crc32cRaw(block.subarray(0, at), journal.checksumSeed);
  return crc32cRaw(new Uint8Array(TAIL), covered) === view(block).getUint32(at);
}

/** `sum`: of the transaction's blocks, for the checksums that JournalCompat.CHECKSUM stands for. */
function commitHolds(journal: Journal, block: Uint8Array, sum: number): boolean {
  if (journal.superblock.compat & JournalCompat.CHECKSUM) {
    const { checksum, checksumType, checksumSize } = COMMIT_BLOCK.decode(block);
    const unused = checksum === 0 && checksumType === 0 && checksumSize === 0;
    const holds = checksum === sum && checksumType === CHECKSUM_CRC32 && checksumSize === CHECKSUM_SIZE;
    if (!unused && !holds) return false;
  }
  if (journal.checksumSeed === null) return true;
  const copy = block.slice();
  view(copy).setUint32(COMMIT_CHECKSUM_AT, 0);
  return crc32cRaw(copy, journal.checksumSeed) === view(block).getUint32(COMMIT_CHECKSUM_AT);
}
