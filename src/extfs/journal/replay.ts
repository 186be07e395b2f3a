import { crc32cRaw } from "../../bytes/crc.ts";
import { view } from "../../bytes/struct.ts";
import type { BlockDevice, IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import { type ExtBlocks, extCorrupt } from "../blocks.ts";
import { JOURNAL_MAGIC, JournalIncompat } from "./format.ts";
import { type Journal, openJournal, RECOVER_HINT } from "./open.ts";
import { type Log, type LoggedBlock, scanLog } from "./scan.ts";

/** EXT4_FC_TAG_HEAD and where fc_tid stands behind its tag (include/trace, fs/ext4/fast_commit.h). */
const FAST_COMMIT_HEAD = 9;
const FAST_COMMIT_TID_AT = 8;

/**
 * Writes what the journal of `blocks` holds into `target`, the same volume with a place for changes. Gives notes for a person.
 * Throws `unsupported` for an external journal and for fast commits that wait, `corrupt` where a kernel would not mount.
 */
export async function replayJournal(blocks: ExtBlocks, target: BlockDevice, io: IoOptions): Promise<readonly string[]> {
  const journal = await openJournal(blocks, io);
  if (journal.superblock.start === 0) return ["the file system is marked for recovery, but its journal is empty"];
  const log = await scanLog(journal);
  await refuseFastCommits(journal, log);
  const revoked = revocations(log);
  let written = 0;
  for (const { sequence, blocks: logged } of log.transactions) {
    for (const block of logged) {
      const last = revoked.get(block.target);
      // Freed after this copy was made: what is there now may be a file's data.
      if (last !== undefined && after(last, sequence) >= 0) continue;
      blocks.inside(block.target, 1, `transaction ${sequence} of the journal`);
      await target.write(await copyOf(journal, block, sequence), block.target * journal.blockSize, io);
      written++;
    }
  }
  const notes = [
    `the journal was replayed in memory (${log.transactions.length} transactions, ${written} blocks); the volume itself is as it was`,
  ];
  if (log.damaged !== null)
    notes.push(`transaction ${log.damaged} of the journal is damaged: the replay ended before it`);
  return notes;
}

/** Difference of two sequence numbers that count round in 32 bits. */
function after(a: number, b: number): number {
  return (a - b) | 0;
}

/** The newest transaction that revoked each block. */
function revocations(log: Log): ReadonlyMap<number, number> {
  const out = new Map<number, number>();
  for (const { sequence, revoked } of log.transactions) for (const block of revoked) out.set(block, sequence);
  return out;
}

async function copyOf(journal: Journal, logged: LoggedBlock, sequence: number): Promise<Uint8Array> {
  const bytes = await journal.read(logged.at);
  if (journal.checksumSeed !== null) {
    const number = new Uint8Array(4);
    view(number).setUint32(0, sequence);
    const sum = crc32cRaw(bytes, crc32cRaw(number, journal.checksumSeed));
    const full = (journal.superblock.incompat & JournalIncompat.CSUM_V3) !== 0;
    if ((full ? sum : sum & 0xffff) !== logged.checksum)
      throw extCorrupt(`the journal's copy of block ${logged.target} has a wrong checksum`);
  }
  if (logged.escaped) view(bytes).setUint32(0, JOURNAL_MAGIC);
  return bytes;
}

/** Fast commits change inodes and directories by description, not by blocks: replaying them needs an allocator, which is not here. */
async function refuseFastCommits(journal: Journal, log: Log): Promise<void> {
  if (journal.fastCommits === null) return;
  const dv = view(await journal.read(journal.fastCommits));
  // Tags are little-endian, unlike the rest of the journal.
  if (dv.getUint16(0, true) !== FAST_COMMIT_HEAD || dv.getUint32(FAST_COMMIT_TID_AT, true) !== log.next) return;
  throw new StorageError("unsupported", "its journal holds fast commits, which are not replayed here", {
    layer: "ext",
    feature: "fast_commit",
    hint: RECOVER_HINT,
  });
}
