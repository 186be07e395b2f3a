import { alignUp } from "../../bytes/integers.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import type { Limits } from "../../core/limits.ts";
import { safeNumber, withinLimit } from "../../core/numbers.ts";
import { corrupt } from "./errors.ts";
import { type Header, MIB } from "./header.ts";
import { entryLength, LOG_SECTOR, type LogEntry, parseEntry } from "./log-entry.ts";
import { type Patch, patched } from "./patched.ts";

/** Log bytes that are checksummed for each byte of the log: entries that claim to overlap must not cost more. */
const MOST_PASSES = 4;

/**
 * The file as it is after its log was replayed (MS-VHDX 2.3.3), in memory: the file itself is not changed. Throws `corrupt` when no sequence
 * of entries is whole, or when the file is shorter than the log knows it was.
 */
export async function replayed(
  file: BlockDevice,
  log: NonNullable<Header["log"]>,
  limits: Limits,
): Promise<BlockDevice> {
  withinLimit(log.length, limits.vhdxLogBytes, "vhdxLogBytes", "bytes of the log", "vhdx", log.offset);
  const entries = activeSequence(await readBytes(file, log.offset, log.length), log.guid);
  const head = entries.at(-1);
  if (!head) {
    throw corrupt(
      "the image was not closed, and its log holds no whole sequence of entries",
      log.offset,
      "whether its tables are whole cannot be known; `qemu-img check -r all` on a copy goes on without the log",
    );
  }
  if (head.flushedFileOffset > BigInt(file.size)) {
    throw corrupt(
      `the file has ${file.size} bytes, but its log was written when it had ${head.flushedFileOffset}: it is truncated`,
      log.offset + head.at,
    );
  }
  const end = safeNumber(head.lastFileOffset, "the log's last file offset", "vhdx", log.offset + head.at + 56);
  const patches = entries.flatMap((entry) => entry.changes.map((change) => patch(change, log.offset + entry.at)));
  return patched(file, patches, Math.max(file.size, alignUp(end, MIB)));
}

function patch({ offset, length, bytes }: LogEntry["changes"][number], at: number): Patch {
  const start = safeNumber(offset, "a logged offset", "vhdx", at);
  const size = safeNumber(length, "a logged length", "vhdx", at);
  if (!Number.isSafeInteger(start + size)) throw corrupt("a logged change beyond what can be addressed", at);
  return { offset: start, length: size, bytes };
}

/** The newest sequence whose entries follow one another and reach back to the tail that the last one names; empty when there is none. */
export function activeSequence(log: Uint8Array, guid: Uint8Array): LogEntry[] {
  const parsed = new Map<number, LogEntry | null>();
  let budget = log.length * MOST_PASSES;
  const entryAt = (at: number): LogEntry | null => {
    const known = parsed.get(at);
    if (known !== undefined) return known;
    const length = entryLength(log, at, guid);
    budget -= length ?? 0;
    if (budget < 0) throw corrupt("the log's entries overlap", at);
    const entry = length === null ? null : parseEntry(log, at, length);
    parsed.set(at, entry);
    return entry;
  };
  let newest: LogEntry[] = [];
  for (let start = 0; start < log.length; ) {
    const run = follow(start, log.length, entryAt);
    const head = run.at(-1);
    const from = run.findIndex((e) => e.at === head?.tail);
    if (head && from >= 0 && head.sequence > (newest.at(-1)?.sequence ?? 0n)) newest = run.slice(from);
    start += head ? run.reduce((sum, e) => sum + e.length, 0) : LOG_SECTOR;
  }
  return newest;
}

/** Entries one behind the other from `start`, each with the next sequence number, once round the log at most. */
function follow(start: number, length: number, entryAt: (at: number) => LogEntry | null): LogEntry[] {
  const run: LogEntry[] = [];
  let used = 0;
  for (;;) {
    const entry = entryAt((start + used) % length);
    const previous = run.at(-1);
    if (!entry || used + entry.length > length) return run;
    if (previous && entry.sequence !== previous.sequence + 1n) return run;
    run.push(entry);
    used += entry.length;
    if (used === length) return run;
  }
}
