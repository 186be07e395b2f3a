import { StorageError } from "../../core/errors.ts";
import { withinLimit } from "../../core/numbers.ts";
import { decodeL1, L2Entry, NOWHERE, putCopied } from "./entry.ts";
import { DIRTY } from "./features.ts";
import type { Header } from "./header.ts";
import { refcountCodec } from "./refcount-width.ts";
import { TABLE_FIELDS_AT } from "./refcounts.ts";
import type { ReferenceCounts } from "./reference-count.ts";
import { countReferences, type ReferenceParts, viewOf } from "./references.ts";

/** Offset of incompatible_features in the header. */
const INCOMPATIBLE_AT = 72;

/**
 * Makes the refcounts of an image whose dirty bit is set right: counts all references, writes a new refcount table and blocks behind all
 * that is in use, switches the header to them in one write, mends the COPIED flags, and only then clears the bit, with a flush between.
 * So after a crash anywhere the image is dirty as before or sound. Returns the header as it is then.
 */
export async function rebuildRefcounts(p: ReferenceParts): Promise<Header> {
  const { container, header } = p;
  const counts = await countReferences(p);
  const table = await writeStructures(p, counts);
  await container.flush();
  const incompatible = header.incompatible & ~DIRTY;
  await container.critical(async () => {
    const fields = new Uint8Array(12);
    viewOf(fields).setBigUint64(0, BigInt(table.offset));
    viewOf(fields).setUint32(8, table.clusters);
    await container.write(fields, TABLE_FIELDS_AT);
    await container.flush();
    await mendCopiedFlags(p, counts);
    await container.flush();
    const bits = new Uint8Array(8);
    viewOf(bits).setBigUint64(0, incompatible);
    await container.write(bits, INCOMPATIBLE_AT);
    await container.flush();
  });
  return { ...header, incompatible, refcountTableOffset: table.offset, refcountTableClusters: table.clusters };
}

/** Writes blocks and table where nothing lies, nor the old ones, which the header names until the switch. */
async function writeStructures(
  p: ReferenceParts,
  counts: ReferenceCounts,
): Promise<{ offset: number; clusters: number }> {
  const { container, geometry, limits } = p;
  const { clusterSize, blockEntries, refcountBits } = geometry;
  const start = Math.max(counts.end, await endOfOldStructures(p));
  const blocks = new Set<number>();
  const most = 2 ** Math.min(refcountBits, 53) - 1;
  for (const { cluster, count } of counts.used()) {
    blocks.add(Math.floor(cluster / blockEntries));
    if (count > most) {
      throw new StorageError("corrupt", `a cluster with ${count} references, more than its refcount can count`, {
        layer: "qcow2",
        offset: cluster * clusterSize,
      });
    }
  }
  let clusters = 0;
  for (let before = -1; before !== blocks.size; ) {
    before = blocks.size;
    const highest = Math.max(largest(blocks), Math.floor((start + blocks.size + clusters) / blockEntries));
    clusters = Math.ceil(((highest + 1) * 8) / clusterSize);
    const end = start + blocks.size + clusters;
    for (let b = Math.floor(start / blockEntries); b * blockEntries < end; b++) blocks.add(b);
  }
  const bytes = clusters * clusterSize;
  withinLimit(bytes, limits.qcow2RefcountTableBytes, "qcow2RefcountTableBytes", "bytes of the refcount table", "qcow2");

  const codec = refcountCodec(refcountBits);
  const end = start + blocks.size + clusters;
  await container.room(end * clusterSize);
  const table = new Uint8Array(bytes);
  let at = start;
  for (const block of [...blocks].sort((a, b) => a - b)) {
    const view = viewOf(new Uint8Array(clusterSize));
    for (let i = 0; i < blockEntries; i++) {
      const cluster = block * blockEntries + i;
      const count = cluster >= start && cluster < end ? 1 : counts.get(cluster);
      if (count !== 0) codec.set(view, i, count);
    }
    await container.write(new Uint8Array(view.buffer), at * clusterSize);
    viewOf(table).setBigUint64(block * 8, BigInt(at * clusterSize));
    at++;
  }
  await container.write(table, at * clusterSize);
  return { offset: at * clusterSize, clusters };
}

function largest(numbers: Iterable<number>): number {
  let most = 0;
  for (const n of numbers) if (n > most) most = n;
  return most;
}

/** The cluster behind the refcount table and blocks that the header names now, as far as they lie in the file. */
async function endOfOldStructures({ container, geometry, header }: ReferenceParts): Promise<number> {
  const { clusterSize } = geometry;
  const length = header.refcountTableClusters * clusterSize;
  const view = viewOf(await container.readTable(header.refcountTableOffset, length, "the refcount table"));
  let end = (header.refcountTableOffset + length) / clusterSize;
  for (let i = 0; i < length; i += 8) {
    const block = Number(view.getBigUint64(i)) / clusterSize;
    if (block * clusterSize < container.size) end = Math.max(end, Math.floor(block) + 1);
  }
  return end;
}

/** In the active tables the flag says that the refcount is exactly one. */
async function mendCopiedFlags(p: ReferenceParts, counts: ReferenceCounts): Promise<void> {
  const { container, geometry, header } = p;
  const { clusterSize, l2Entries, entryBytes, external } = geometry;
  const l1 = await container.readTable(header.l1TableOffset, header.l1Size * 8, "the L1 table");
  const single = (offset: number) => counts.get(offset / clusterSize) === 1;
  const e = new L2Entry(geometry);
  let changedL1 = false;
  for (let i = 0; i < header.l1Size; i++) {
    const { offset } = decodeL1(viewOf(l1), i, clusterSize, header.l1TableOffset + i * 8);
    if (offset === 0) continue;
    changedL1 = putCopied(viewOf(l1), i * 8, single(offset)) || changedL1;
    if (external) continue;
    const l2 = await container.readTable(offset, clusterSize, "an L2 table");
    let changed = false;
    for (let k = 0; k < l2Entries; k++) {
      e.load(viewOf(l2), k, offset);
      if (e.compressed || e.host === NOWHERE) continue;
      changed = putCopied(viewOf(l2), k * entryBytes, single(e.host)) || changed;
    }
    if (changed) await container.write(l2, offset);
  }
  if (changedL1) await container.write(l1, header.l1TableOffset);
}
