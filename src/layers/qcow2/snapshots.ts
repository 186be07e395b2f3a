import { struct } from "../../bytes/struct.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { safeNumber, withinLimit } from "../../core/numbers.ts";
import { geometryOf } from "./geometry.ts";
import type { Header } from "./header.ts";

/** Fixed part of a snapshot table entry ("Snapshots", bytes 0-39). */
const ENTRY = struct("qcow2 snapshot", "big", {
  l1TableOffset: { at: 0, type: "u64" },
  l1Size: { at: 8, type: "u32" },
  idLength: { at: 12, type: "u16" },
  nameLength: { at: 14, type: "u16" },
  seconds: { at: 16, type: "u32" },
  nanoseconds: { at: 20, type: "u32" },
  guestClock: { at: 24, type: "u64" },
  vmStateSize: { at: 32, type: "u32" },
  extraSize: { at: 36, type: "u32" },
});
/** QEMU's QCOW_MAX_SNAPSHOT_EXTRA_DATA (block/qcow2.h). */
const MAX_EXTRA = 1024;
/** Bytes fetched at a time; one entry with the longest names and extra data is below 132 KiB. */
const CHUNK = 4096;

export interface Snapshot {
  readonly id: string;
  readonly name: string;
  /** ISO 8601, UTC. */
  readonly date: string;
  /** Bytes. */
  readonly vmStateSize: number;
  /** Virtual size when it was taken, in bytes; the image's own where the entry is too old to say. */
  readonly diskSize: number;
  readonly l1TableOffset: number;
  readonly l1Size: number;
}

export interface SnapshotTable {
  readonly snapshots: readonly Snapshot[];
  /** Bytes of the table, from `header.snapshotsOffset`. */
  readonly length: number;
}

/** Reads the snapshot table; `corrupt` when it is cut short or points outside the file. */
export async function readSnapshots(file: BlockDevice, header: Header, limits: Limits): Promise<SnapshotTable> {
  const source = new Forward(file, header.snapshotsOffset);
  const snapshots: Snapshot[] = [];
  for (let i = 0; i < header.snapshotCount; i++) {
    const at = source.position;
    const entry = ENTRY.decode(await source.take(ENTRY.size));
    if (entry.extraSize > MAX_EXTRA) throw corrupt(`snapshot ${i} has ${entry.extraSize} bytes of extra data`, at);
    const extra = await source.take(entry.extraSize);
    const id = text(await source.take(entry.idLength));
    const name = text(await source.take(entry.nameLength));
    // Each entry is padded to a multiple of 8 bytes ("Snapshots", end of the table entry).
    source.align(8);
    const l1TableOffset = safeNumber(entry.l1TableOffset, "a snapshot's L1 offset", "qcow2", at);
    withinLimit(entry.l1Size * 8, limits.qcow2L1Bytes, "qcow2L1Bytes", "bytes of a snapshot's L1 table", "qcow2", at);
    if (l1TableOffset % header.clusterSize !== 0 || l1TableOffset + entry.l1Size * 8 > file.size) {
      throw corrupt(`the L1 table of snapshot ${i} is misplaced`, at);
    }
    const dv = new DataView(extra.buffer, extra.byteOffset, extra.byteLength);
    snapshots.push({
      id,
      name,
      date: new Date(entry.seconds * 1000).toISOString(),
      vmStateSize:
        extra.length >= 8 ? safeNumber(dv.getBigUint64(0), "a VM state's size", "qcow2", at) : entry.vmStateSize,
      diskSize:
        extra.length >= 16 ? safeNumber(dv.getBigUint64(8), "a snapshot's disk size", "qcow2", at) : header.size,
      l1TableOffset,
      l1Size: entry.l1Size,
    });
  }
  return { snapshots, length: source.position - header.snapshotsOffset };
}

/**
 * The snapshot that `wanted` names: `id=ID`, `name=NAME`, or either of them alone. Throws `usage` when it names none or several, and
 * `corrupt` when its L1 table cannot hold its disk.
 */
export function findSnapshot(table: SnapshotTable, wanted: string, header: Header): Snapshot {
  const [, field, value] = /^(id|name)=(.*)$/s.exec(wanted) ?? [];
  const exact = (s: Snapshot) => (field === "id" ? s.id === value : s.name === value);
  const either = (s: Snapshot) => s.id === wanted || s.name === wanted;
  const plain = table.snapshots.filter(either);
  const found = plain.length === 0 && field !== undefined ? table.snapshots.filter(exact) : plain;
  const [snapshot] = found;
  const list = (some: readonly Snapshot[]) => some.map((s) => `${s.id} (${s.name})`).join(", ");
  if (!snapshot) {
    const there = table.snapshots.length === 0 ? "the image has none" : `there are: ${list(table.snapshots)}`;
    throw new StorageError("usage", `there is no snapshot ${wanted}`, { layer: "qcow2", hint: there });
  }
  if (found.length > 1) {
    throw new StorageError("usage", `${wanted} could be the snapshots ${list(found)}`, {
      layer: "qcow2",
      hint: `say id=${snapshot.id} or name=${snapshot.name}`,
    });
  }
  const { l1Entries } = geometryOf(header, snapshot.diskSize);
  if (snapshot.l1Size < l1Entries || (snapshot.l1Size > 0 && snapshot.l1TableOffset === 0)) {
    throw corrupt(`the L1 table of snapshot ${snapshot.id} does not hold its disk`, header.snapshotsOffset);
  }
  return snapshot;
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}

function corrupt(message: string, offset: number): StorageError {
  return new StorageError("corrupt", message, { layer: "qcow2", offset });
}

/** Reads forward in chunks, so that a small table costs one small read. */
class Forward {
  position: number;
  readonly #file: BlockDevice;
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkAt = 0;

  constructor(file: BlockDevice, position: number) {
    this.#file = file;
    this.position = position;
  }

  async take(length: number): Promise<Uint8Array> {
    const end = this.position + length;
    if (end > this.#file.size) throw corrupt("the snapshot table reaches beyond the end of the file", this.position);
    if (this.position < this.#chunkAt || end > this.#chunkAt + this.#chunk.length) {
      this.#chunkAt = this.position;
      this.#chunk = await readBytes(
        this.#file,
        this.position,
        Math.min(Math.max(length, CHUNK), this.#file.size - this.position),
      );
    }
    const out = this.#chunk.slice(this.position - this.#chunkAt, end - this.#chunkAt);
    this.position = end;
    return out;
  }

  align(to: number): void {
    const rest = this.position % to;
    if (rest !== 0) this.position += to - rest;
  }
}
