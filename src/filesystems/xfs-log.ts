import type { ProbeWindow } from "../core/layer.ts";
import { readExactly } from "./info.ts";

/** The log is written in basic blocks (BBSIZE, fs/xfs/libxfs/xfs_fs.h). */
const BASIC_BLOCK = 512;
/** xlog_rec_header.h_magicno. */
const RECORD_MAGIC = 0xfeedbabe;
/** xlog_op_header.oh_flags: the record that a clean unmount (and mkfs) writes last. */
const UNMOUNT_TRANS = 0x20;
/** XLOG_MAX_RECORD_BSIZE (256 KiB) and its headers: farther back than this the last record's header cannot lie. */
const SEARCH_BACK = 256 * 1024 + 8 * BASIC_BLOCK;

/**
 * Whether the internal log ends with an unmount record (`clean`) or holds transactions that a mount would replay
 * (`dirty log`). Null: could not be told within a few reads. `length` in bytes.
 *
 * As xlog_find_head() and xlog_check_unmount_rec() (fs/xfs/xfs_log_recover.c), without their repair of torn writes: the log's
 * end is where the cycle number, the first word of each basic block, drops. Whatever does not fit exactly counts as dirty or
 * unknown, never as clean.
 */
export async function xfsLogState(window: ProbeWindow, start: number | null, length: number): Promise<string | null> {
  if (start === null || length < 2 * BASIC_BLOCK) return null;
  const blocks = Math.floor(length / BASIC_BLOCK);
  const block = (n: number) => readExactly(window, start + n * BASIC_BLOCK, BASIC_BLOCK);
  const first = await block(0);
  const last = await block(blocks - 1);
  if (!first || !last) return null;
  const cycle = cycleOf(first);
  if (cycle === 0) return null;
  const head = cycleOf(last) === cycle ? blocks : await endOfCycle(block, cycle, blocks);
  if (head === null) return null;
  return lastRecordState(window, start, head, blocks);
}

/** The record's header has the magic where other blocks have the cycle, which then follows (xlog_get_cycle). */
function cycleOf(block: Uint8Array): number {
  const buffer = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  const word = buffer.readUInt32BE(0);
  return word === RECORD_MAGIC ? buffer.readUInt32BE(4) : word;
}

/** First block whose cycle differs from the first block's (binary search; xlog_find_cycle_start). */
async function endOfCycle(
  block: (n: number) => Promise<Uint8Array | null>,
  cycle: number,
  blocks: number,
): Promise<number | null> {
  let low = 0;
  let high = blocks - 1;
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    const bytes = await block(middle);
    if (!bytes) return null;
    if (cycleOf(bytes) === cycle) low = middle;
    else high = middle;
  }
  return high;
}

/** Looks back from the head for the last record's header and judges it. */
async function lastRecordState(
  window: ProbeWindow,
  start: number,
  head: number,
  blocks: number,
): Promise<string | null> {
  const back = Math.min(head, SEARCH_BACK / BASIC_BLOCK);
  for (let step = 8; ; step = Math.min(step * 4, back)) {
    const size = Math.min(step, back);
    const bytes = await readExactly(window, start + (head - size) * BASIC_BLOCK, size * BASIC_BLOCK);
    if (!bytes) return null;
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = (size - 1) * BASIC_BLOCK; at >= 0; at -= BASIC_BLOCK) {
      if (buffer.readUInt32BE(at) !== RECORD_MAGIC) continue;
      const record = head - size + at / BASIC_BLOCK;
      return isUnmount(buffer, at, record, head, blocks) ? "clean" : "dirty log";
    }
    if (size === back) return head === blocks || head === 0 ? null : "dirty log";
  }
}

/** xlog_check_unmount_rec: one operation, its flag set, and the log ends right after this record. */
function isUnmount(log: Buffer, at: number, record: number, head: number, blocks: number): boolean {
  const headerBlocks = headerBlocksOf(log, at);
  const dataBlocks = Math.ceil(log.readUInt32BE(at + 12) / BASIC_BLOCK);
  const operations = log.readUInt32BE(at + 40);
  const after = record + headerBlocks + dataBlocks;
  const operation = at + headerBlocks * BASIC_BLOCK;
  if (operations !== 1 || after % blocks !== head % blocks || operation + 12 > log.length) return false;
  return (log.readUInt8(operation + 9) & UNMOUNT_TRANS) !== 0;
}

/** Version 2 logs may have more than one header block: one per 32 KiB of record size (xlog_logrec_hblks). */
function headerBlocksOf(log: Buffer, at: number): number {
  const version = log.readUInt32BE(at + 8);
  const recordSize = log.readUInt32BE(at + 320);
  const CYCLE_SIZE = 32 * 1024;
  return (version & 2) !== 0 && recordSize > CYCLE_SIZE ? Math.ceil(recordSize / CYCLE_SIZE) : 1;
}
