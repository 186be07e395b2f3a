import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { withinLimit } from "../../core/numbers.ts";
import type { Container } from "./container.ts";
import { decodeCompressed, decodeL1, L2Entry, NOWHERE } from "./entry.ts";
import type { Geometry } from "./geometry.ts";
import type { Header } from "./header.ts";
import { ReferenceCounts } from "./reference-count.ts";
import type { SnapshotTable } from "./snapshots.ts";

export interface ReferenceParts {
  readonly container: Container;
  readonly geometry: Geometry;
  readonly header: Header;
  readonly snapshots: SnapshotTable;
  readonly encryption: { readonly offset: number; readonly length: number } | null;
  readonly limits: Limits;
}

/** A structure of the image and how often it must be referenced. */
interface Own {
  readonly what: string;
  readonly offset: number;
  readonly length: number;
  readonly times: number;
}

/**
 * Counts what the header, the active tables and those of all snapshots refer to. The refcount structures themselves are left out, and so
 * are bitmaps: whoever writes has declared them inconsistent before. Throws `corrupt` where guest data and tables lie on each other:
 * then the image is more than dirty.
 */
export async function countReferences(p: ReferenceParts): Promise<ReferenceCounts> {
  const { container, geometry, header, snapshots, encryption, limits } = p;
  const { clusterSize } = geometry;
  const counts = new ReferenceCounts(container.size, clusterSize, limits);
  const tables = await l2Tables(p);
  const own: Own[] = [
    { what: "the header", offset: 0, length: clusterSize, times: 1 },
    { what: "the L1 table", offset: header.l1TableOffset, length: header.l1Size * 8, times: 1 },
    { what: "the snapshot table", offset: header.snapshotsOffset, length: snapshots.length, times: 1 },
    ...(encryption ? [{ what: "the encryption header", ...encryption, times: 1 }] : []),
    ...snapshots.snapshots.map((s) => ({
      what: "a snapshot's L1 table",
      offset: s.l1TableOffset,
      length: s.l1Size * 8,
      times: 1,
    })),
    ...[...tables].map(([offset, times]) => ({ what: "an L2 table", offset, length: clusterSize, times })),
  ];
  for (const o of own) counts.add(o.offset, o.length, o.times, o.offset);
  for (const [offset, times] of tables) await countTable(p, counts, offset, times);
  for (const o of own) {
    for (let at = o.offset; at < o.offset + o.length; at += clusterSize) {
      if (counts.get(Math.floor(at / clusterSize)) === o.times) continue;
      throw new StorageError("corrupt", `something else lies on ${o.what}`, {
        layer: "qcow2",
        offset: at,
        hint: "the image is damaged, not only dirty: see what `qemu-img check` says of a copy",
      });
    }
  }
  return counts;
}

/** Every L2 table with the number of L1 entries that name it: so each is read once, however many snapshots share it. */
async function l2Tables({
  container,
  geometry,
  header,
  snapshots,
  limits,
}: ReferenceParts): Promise<Map<number, number>> {
  const l1Tables = [{ l1TableOffset: header.l1TableOffset, l1Size: header.l1Size }, ...snapshots.snapshots];
  const bytes = l1Tables.reduce((sum, t) => sum + t.l1Size * 8, 0);
  withinLimit(bytes, limits.qcow2RebuildBytes, "qcow2RebuildBytes", "bytes of all L1 tables", "qcow2");
  const tables = new Map<number, number>();
  for (const { l1TableOffset, l1Size } of l1Tables) {
    const view = viewOf(await container.readTable(l1TableOffset, l1Size * 8, "an L1 table"));
    for (let i = 0; i < l1Size; i++) {
      const { offset } = decodeL1(view, i, geometry.clusterSize, l1TableOffset + i * 8);
      if (offset !== 0) tables.set(offset, (tables.get(offset) ?? 0) + 1);
    }
  }
  return tables;
}

async function countTable(
  { container, geometry }: ReferenceParts,
  counts: ReferenceCounts,
  offset: number,
  times: number,
): Promise<void> {
  const { clusterSize, l2Entries, entryBytes, external } = geometry;
  if (external) return;
  const view = viewOf(await container.readTable(offset, clusterSize, "an L2 table"));
  const e = new L2Entry(geometry);
  for (let i = 0; i < l2Entries; i++) {
    e.load(view, i, offset);
    const at = offset + i * entryBytes;
    if (e.compressed) {
      const range = decodeCompressed(geometry, view, i, offset);
      // The file may end inside the last sector of the last compressed cluster.
      counts.add(range.offset, range.length, times, at);
    } else if (e.host !== NOWHERE) counts.add(e.host, clusterSize, times, at);
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
