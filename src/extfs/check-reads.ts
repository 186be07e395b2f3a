import { alignDown, alignUp } from "../bytes/integers.ts";
import type { BlockDevice, IoOptions } from "../core/device.ts";
import { type ExtGeometry, GroupFlag, readGeometry } from "./geometry.ts";
import { metadataOfInode } from "./inode-scan.ts";
import { inodeSelect, SELECT_BUFFER } from "./inode-select.ts";

/** Bytes of one read. */
const PIECE = SELECT_BUFFER;
/** So far ahead of what is read the device is told what comes next. */
const AHEAD = 32 * 1024 * 1024;
/** Bytes more that it is told of at each read: the first shall not wait until all of that is told. */
const TOLD_AT_ONCE = 4 * PIECE;
/** The kernel caches whole pages of this size; 64 KiB pages of other machines are served by their own reads. */
const PAGE = 4096;
/** Metadata this close together is read in one go. */
const GAP = 16 * 1024;

export interface CheckReadsOptions extends IoOptions {
  /** Bytes at most, of all pieces. */
  readonly budget: number;
}

interface Range {
  /** Bytes. */
  readonly start: number;
  readonly end: number;
}

/**
 * The metadata that e2fsck reads, each run of it with its offset: superblock and group descriptors, bitmaps and used inodes of all
 * groups (pass 1), then what those inodes name: directories (pass 2), extent and indirect blocks, blocks of attributes. Blocks that come up later are
 * not foretold; this is only to have most of them in memory. Pieces share four buffers: each is good until the third after it is asked
 * for, which then is being read into it.
 * Throws StorageError where the file system cannot be followed.
 */
export async function* checkReads(
  device: BlockDevice,
  { budget, signal }: CheckReadsOptions,
): AsyncGenerator<{ offset: number; bytes: Uint8Array }> {
  const geometry = await readGeometry(device);
  const { blockSize } = geometry;
  const { buffers, select } = inodeSelect();
  let turn = 0;
  const tables = inodeTables(geometry).sort((a, b) => a.start - b.start);
  const named: Range[] = [];
  let left = budget;

  /** The device is told of what comes next, so that the disk is read while this is worked on. */
  async function* pieces(ranges: Iterable<Range>): AsyncGenerator<{ offset: number; bytes: Uint8Array }> {
    const reads = [...cut(ranges)];
    let told = 0;
    let ahead = 0;
    let reading: Promise<Uint8Array | null> | null = null;
    const read = async (i: number): Promise<Uint8Array | null> => {
      for (let more = TOLD_AT_ONCE; more > 0 && told < reads.length && ahead < AHEAD; told++) {
        const { start, end } = reads[told]!;
        await device.prefetch?.(start, end - start);
        ahead += end - start;
        more -= end - start;
      }
      const { start, end } = reads[i]!;
      const bytes = buffers[turn++ % buffers.length]!.subarray(0, end - start);
      ahead -= bytes.length;
      left -= bytes.length;
      if (left < 0) return null;
      await device.read(bytes, start, { signal });
      return bytes;
    };
    try {
      for (let i = 0; i < reads.length; i++) {
        const bytes = await (reading ?? read(i));
        if (bytes === null) return;
        reading = i + 1 < reads.length ? read(i + 1) : null;
        // It is told when its turn comes.
        reading?.catch(() => undefined);
        yield { offset: reads[i]!.start, bytes };
      }
    } finally {
      // Nobody takes the device away under a read.
      await reading?.catch(() => undefined);
    }
  }

  let next = 0;
  for await (const piece of pieces(merge([...tables, ...fixedPlaces(geometry)], device.size))) {
    const end = piece.offset + piece.bytes.length;
    for (let t = next; t < tables.length && tables[t]!.start < end; t++) {
      const table = tables[t]!;
      if (table.end <= end) next = t + 1;
      // Pieces begin at pages and tables at blocks: both hold whole inodes, but for the rare inode larger than a page.
      const from = Math.max(table.start, piece.offset) - piece.offset;
      const inodes = piece.bytes.subarray(from, Math.min(table.end, end) - piece.offset);
      for (const at of select(inodes, geometry.inodeSize))
        metadataOfInode(inodes.subarray(at), geometry, (block, count) => {
          named.push({ start: block * blockSize, end: (block + count) * blockSize });
        });
    }
    yield piece;
  }
  yield* pieces(merge(named, device.size));
}

/** Cut into what is read at once. */
function* cut(ranges: Iterable<Range>): Generator<Range> {
  for (const { start, end } of ranges)
    for (let at = start; at < end; at += PIECE) yield { start: at, end: Math.min(at + PIECE, end) };
}

/** The used part of each inode table. */
function inodeTables(geometry: ExtGeometry): Range[] {
  const out: Range[] = [];
  for (let i = 0; i < geometry.groupCount; i++) {
    const group = geometry.group(i);
    if (group.flags & GroupFlag.INODE_UNINIT) continue;
    const start = group.inodeTable * geometry.blockSize;
    out.push({ start, end: start + (geometry.inodesPerGroup - group.itableUnused) * geometry.inodeSize });
  }
  return out;
}

function fixedPlaces(geometry: ExtGeometry): Range[] {
  const { blockSize, firstDataBlock, blocksPerGroup, groupCount, descriptorSize, superblock } = geometry;
  const block = (n: number): Range => ({ start: n * blockSize, end: (n + 1) * blockSize });
  // e2fsck also looks at each block that is reserved for more group descriptors, and at the first backup superblock.
  const descriptors = Math.ceil((groupCount * descriptorSize) / blockSize) + superblock.reservedGdtBlocks;
  const out: Range[] = [
    { start: 0, end: (firstDataBlock + 1 + descriptors) * blockSize },
    block(firstDataBlock + blocksPerGroup),
  ];
  for (let i = 0; i < groupCount; i++) {
    const group = geometry.group(i);
    if (!(group.flags & GroupFlag.BLOCK_UNINIT)) out.push(block(group.blockBitmap));
    if (!(group.flags & GroupFlag.INODE_UNINIT)) out.push(block(group.inodeBitmap));
  }
  return out;
}

/** In ascending order, in whole pages, joined where they are close, and cut at the end of the device. */
function* merge(ranges: Range[], size: number): Generator<Range> {
  ranges.sort((a, b) => a.start - b.start);
  let open: Range | null = null;
  for (const r of ranges) {
    const start = alignDown(r.start, PAGE);
    const end = Math.min(alignUp(r.end, PAGE), size);
    if (start >= end) continue;
    if (open && start <= open.end + GAP) open = { start: open.start, end: Math.max(open.end, end) };
    else {
      if (open) yield open;
      open = { start, end };
    }
  }
  if (open) yield open;
}
