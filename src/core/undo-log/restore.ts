import { crc32 } from "../../bytes/crc.ts";
import { alignDown, isZero } from "../../bytes/integers.ts";
import { type BlockDevice, readBytes } from "../device.ts";
import { StorageError } from "../errors.ts";
import { Overlay, type OverlayOptions } from "../overlay.ts";
import { type ByteRange, RangeSet } from "../range-set.ts";
import { FLAG_CUT, PIECE, piecesOf } from "./format.ts";
import type { Batch, UndoLogReader } from "./reader.ts";
import { sha256 } from "./writer.ts";

const SECTOR = 512;

/** Reads all old bytes of a batch once, so that a damaged log is found before the source is written. Throws `corrupt`. */
export function verifyBatch(log: UndoLogReader, batch: Batch): void {
  for (const range of batch.ranges) {
    log.old(range);
    log.table(range);
  }
}

/**
 * Makes `device` hold what it held before `batch`: old bytes where they differ, and the old size. Idempotent, so a crash in it is
 * mended by doing it again. Equal pieces are not written: zeros in a hole need no space on a full disk. Does not flush.
 */
export async function restoreBatch(device: BlockDevice, log: UndoLogReader, batch: Batch): Promise<void> {
  if (device.size < batch.oldSize) await setSize(device, batch.oldSize);
  for (const range of batch.ranges) {
    const old = log.old(range);
    if (!old) continue;
    const now = await readBytes(device, range.offset, range.length);
    for (const p of piecesOf(range.offset, range.length)) {
      const [from, to] = [p.offset - range.offset, p.offset - range.offset + p.length];
      if (Buffer.compare(old.subarray(from, to), now.subarray(from, to)) !== 0) {
        await device.write(old.subarray(from, to), p.offset);
      }
    }
  }
  if (device.size > batch.oldSize) await setSize(device, batch.oldSize);
}

/**
 * Where `device` holds neither the old nor the new content of a half-applied batch: somebody else wrote there since, and a rollback
 * would destroy that. Looks piece by piece: a kernel that stops in the middle of a write stops between pages.
 */
export async function foreignRanges(device: BlockDevice, log: UndoLogReader, batch: Batch): Promise<ByteRange[]> {
  const unexplained = new RangeSet();
  if (!isBetween(device.size, [batch.oldSize, batch.newSize])) unexplained.add(device.size, 1);
  await explain(device, log, batch, unexplained, false);
  return [...unexplained];
}

export interface UndoImage {
  /** The source as it was before the first of the batches. The caller disposes of it. */
  readonly overlay: Overlay;
  /** What was changed by somebody else since the last of the batches. */
  readonly foreign: readonly ByteRange[];
}

/**
 * Walks the batches backwards on an overlay above `device`, down to the content before the first one.
 * `fresh`: nothing was undone yet, so every range must hash to its new content; else (an undo that was interrupted) a piece may
 * also be at an earlier state already. `force`: restore whatever is there now.
 */
export async function undoImage(
  device: BlockDevice,
  log: UndoLogReader,
  batches: readonly Batch[],
  mode: "fresh" | "resumed" | "force",
  options?: OverlayOptions,
): Promise<UndoImage> {
  const overlay = new Overlay(device, options);
  try {
    const unexplained = new RangeSet();
    const sizes = batches.flatMap((b) => [b.oldSize, b.newSize]);
    if (!isBetween(device.size, mode === "fresh" ? sizes.slice(-1) : sizes)) unexplained.add(device.size, 1);
    for (const batch of [...batches].reverse()) {
      if (mode === "fresh") await explainWhole(overlay, log, batch, unexplained);
      else await explain(overlay, log, batch, unexplained, true);
      if (mode !== "resumed") await restoreBatch(overlay, log, batch);
      else if (overlay.size !== batch.oldSize) await setSize(overlay, batch.oldSize);
    }
    return { overlay, foreign: [...unexplained] };
  } catch (error) {
    await overlay[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Writes an overlay's changes into the device under it, each page at once, so that after a crash every page is at one of the states
 * that `undoImage(…, "resumed")` knows. Makes them durable.
 */
export async function writePages(overlay: Overlay, device: BlockDevice): Promise<void> {
  if (device.size < overlay.size) await setSize(device, overlay.size);
  let start = -1;
  let end = -1;
  const write = async () => {
    for (let at = start; at < end; ) {
      const to = Math.min(end, alignDown(at, PIECE) + PIECE * 256);
      await device.write(await readBytes(overlay, at, to - at), at);
      at = to;
    }
  };
  for await (const range of overlay.changedRanges()) {
    // Changes that share a page are written with what lies between them.
    if (start >= 0 && alignDown(end - 1, PIECE) < alignDown(range.offset, PIECE)) {
      await write();
      start = -1;
    }
    if (start < 0) start = range.offset;
    end = range.offset + range.length;
  }
  if (start >= 0) await write();
  await device.flush();
  if (device.size > overlay.size) {
    await setSize(device, overlay.size);
    await device.flush();
  }
}

/** After a loss of power a file that was growing may have any size on the way. */
function isBetween(size: number, sizes: readonly number[]): boolean {
  return size >= Math.min(...sizes) && size <= Math.max(...sizes);
}

async function setSize(device: BlockDevice, size: number): Promise<void> {
  if (!device.resize) {
    throw new StorageError("range", `the source has ${device.size} bytes instead of ${size} and cannot be resized`, {
      layer: "undo-log",
    });
  }
  await device.resize(size);
}

/** Every range must hash to the new content that was recorded. */
async function explainWhole(
  device: BlockDevice,
  log: UndoLogReader,
  batch: Batch,
  unexplained: RangeSet,
): Promise<void> {
  for (const range of batch.ranges) {
    const hash = log.newHash(range);
    if (hash === null) continue;
    const end = range.offset + range.length;
    const same =
      end <= device.size && Buffer.compare(sha256(await readBytes(device, range.offset, range.length)), hash) === 0;
    if (!same) unexplained.add(range.offset, range.length);
  }
}

/** Compares each piece with its new and its old content; with `restore`, new pieces get their old content. */
async function explain(
  device: BlockDevice,
  log: UndoLogReader,
  batch: Batch,
  unexplained: RangeSet,
  restore: boolean,
): Promise<void> {
  if (restore && device.size < batch.oldSize && device.resize) {
    // Cut off by the batch, or beyond the end that an interrupted undo has reached already; only the first has old bytes to show.
    await device.resize(batch.oldSize);
    for (const range of batch.ranges) {
      const old = range.flags & FLAG_CUT ? log.old(range) : null;
      if (old) await device.write(old, range.offset);
    }
  }
  for (const range of batch.ranges) {
    // What lies behind the end is cut off by the batch, or not grown yet. Whether the size itself is known the caller has seen.
    const there = Math.min(range.length, Math.max(0, device.size - range.offset));
    if (there === 0) continue;
    const old = log.old(range);
    const table = log.table(range);
    const now = await readBytes(device, range.offset, there);
    let i = 0;
    for (const p of piecesOf(range.offset, range.length)) {
      const [from, to] = [p.offset - range.offset, p.offset - range.offset + p.length];
      if (to > there) break;
      const piece = now.subarray(from, to);
      // What was cut off comes back as zeros first, when a restoration makes the file longer again.
      const isNew = range.flags & FLAG_CUT ? isZero(piece) : crc32(piece) === table[i];
      i++;
      if (isNew) {
        unexplained.subtract(p.offset, p.length);
        if (restore && old) await device.write(old.subarray(from, to), p.offset);
      } else {
        markDifferences(piece, old?.subarray(from, to) ?? null, p.offset, unexplained);
      }
    }
  }
}

/** Sectors that equal the old content are explained, even where their piece as a whole is at a still earlier state. */
function markDifferences(piece: Uint8Array, old: Uint8Array | null, offset: number, unexplained: RangeSet): void {
  for (let at = 0; at < piece.length; at += SECTOR) {
    const sector = piece.subarray(at, at + SECTOR);
    // Grown but not written yet: zeros.
    const same = old ? Buffer.compare(sector, old.subarray(at, at + SECTOR)) === 0 : sector.every((b) => b === 0);
    if (same) unexplained.subtract(offset + at, sector.length);
    else unexplained.add(offset + at, sector.length);
  }
}
