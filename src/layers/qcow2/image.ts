import type { BlockDevice, Extent, IoOptions } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { SectorCodec } from "../../core/layer.ts";
import type { Limits } from "../../core/limits.ts";
import { RwLock } from "../../core/rw-lock.ts";
import { Container } from "./container.ts";
import { GuestData } from "./data.ts";
import { DIRTY, RAW_DATA_FILE } from "./features.ts";
import { type Geometry, geometryOf } from "./geometry.ts";
import type { Header } from "./header.ts";
import { Layout, TABLE_AREA } from "./layout.ts";
import { ClusterMap } from "./mapping.ts";
import { Reader } from "./reader.ts";
import type { Snapshot, SnapshotTable } from "./snapshots.ts";
import type { Writer } from "./writer.ts";

/** Default for each cache of tables: at 64 KiB clusters the L2 tables of 64 GiB. */
const CACHE_BYTES = 8 * 1024 * 1024;
/** Offset of autoclear_features in the header. */
const AUTOCLEAR_AT = 88;

export interface ImageParts {
  readonly file: BlockDevice;
  readonly header: Header;
  readonly snapshots: SnapshotTable;
  readonly backing: BlockDevice | null;
  /** The external data file of an image that has one. */
  readonly dataFile?: BlockDevice | null | undefined;
  /** What an encrypted image's clusters are encrypted with. */
  readonly codec?: SectorCodec | null | undefined;
  /** Shown in place of the active disk; such an image is never written to. */
  readonly snapshot?: Snapshot | null | undefined;
  /** Where the LUKS header lies. */
  readonly encryption?: { readonly offset: number; readonly length: number } | null | undefined;
  readonly limits: Limits;
  /** Bytes of each of the two caches of tables (L2, refcounts). */
  readonly cacheBytes?: number | undefined;
}

interface Own {
  readonly geometry: Geometry;
  readonly container: Container;
  readonly layout: Layout;
  readonly data: GuestData;
  readonly map: ClusterMap;
}

/** The virtual disk of one opened image: shared by all devices that are opened on it. */
export class Qcow2Image {
  readonly geometry: Geometry;
  readonly #parts: ImageParts;
  readonly #container: Container;
  readonly #layout: Layout;
  readonly #data: GuestData;
  readonly #map: ClusterMap;
  readonly #reader: Reader;
  readonly #lock = new RwLock();
  /** Made by the first change: until then the refcounts are not read. */
  #writer: Promise<Writer> | null = null;

  private constructor(parts: ImageParts, own: Own) {
    this.#parts = parts;
    this.geometry = own.geometry;
    this.#container = own.container;
    this.#layout = own.layout;
    this.#data = own.data;
    this.#map = own.map;
    this.#reader = new Reader({
      ...own,
      compressionType: parts.header.compressionType,
      backing: parts.backing,
    });
  }

  /** Reads the L1 table; nothing else. */
  static async open(parts: ImageParts): Promise<Qcow2Image> {
    const { header, snapshots, snapshot, encryption, dataFile } = parts;
    const geometry = geometryOf(header, snapshot?.diskSize);
    const container = new Container(parts.file, geometry.clusterSize);
    const layout = new Layout(geometry.clusterSize);
    layout.addArea("the header", 0, geometry.clusterSize);
    layout.addArea("the L1 table", header.l1TableOffset, header.l1Size * 8);
    layout.addArea(TABLE_AREA, header.refcountTableOffset, header.refcountTableClusters * geometry.clusterSize);
    layout.addArea("the snapshot table", header.snapshotsOffset, snapshots.length);
    if (encryption) layout.addArea("the encryption header", encryption.offset, encryption.length);
    for (const s of snapshots.snapshots) layout.addArea("a snapshot's L1 table", s.l1TableOffset, s.l1Size * 8);
    const external = dataFile ? new Container(dataFile, geometry.clusterSize) : null;
    const data = new GuestData(geometry, container, external, parts.codec ?? null);
    const l1 = snapshot
      ? { offset: snapshot.l1TableOffset, entries: snapshot.l1Size }
      : { offset: header.l1TableOffset, entries: header.l1Size };
    const map = await ClusterMap.open(container, geometry, layout, data, l1, parts.cacheBytes ?? CACHE_BYTES);
    return new Qcow2Image(parts, { geometry, container, layout, data, map });
  }

  /** Requests must be whole sectors. */
  get encrypted(): boolean {
    return this.#data.encrypted;
  }

  read(into: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#lock.shared(() => this.#reader.read(into, offset, options));
  }

  prefetch(offset: number, length: number): Promise<void> {
    return this.#lock.shared(() => this.#reader.prefetch(offset, length));
  }

  /** Extents of a moment: collected under the lock, so that a consumer that pauses does not hold up writers. */
  async *extents(offset: number, length: number, options?: IoOptions): AsyncIterable<Extent> {
    const end = offset + length;
    for (let at = offset; at < end; at += EXTENTS_STEP) {
      const batch: Extent[] = [];
      await this.#lock.shared(async () => {
        for await (const e of this.#reader.extents(at, Math.min(EXTENTS_STEP, end - at), options)) batch.push(e);
      });
      yield* batch;
    }
  }

  write(from: Uint8Array, offset: number, options?: IoOptions): Promise<void> {
    return this.#change((writer) => writer.write(from, offset, options));
  }

  zero(offset: number, length: number, options?: IoOptions): Promise<void> {
    return this.#change((writer) => writer.zero(offset, length, options));
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#change((writer) => writer.discard(offset, length));
  }

  flush(): Promise<void> {
    return this.#lock.exclusive(async () => {
      if (this.#writer) await (await this.#writer).commit();
      await this.#data.flush();
      await this.#container.flush();
    });
  }

  /**
   * Writes what is in memory and cuts unused growth; the image on disk is then complete. After a failed update it leaves the
   * file as it is: the caller has had that error.
   */
  settle(): Promise<void> {
    return this.#lock.exclusive(async () => {
      const writer = await this.#writer?.catch(() => null);
      if (!writer || this.#container.broken) return;
      await writer.commit();
      await this.#data.trim();
      await this.#data.flush();
      await this.#container.trim();
      await this.#container.flush();
    });
  }

  /** Guest clusters with data of their own (also compressed), also if only some subclusters of them. Reads all L2 tables. */
  async allocatedClusters(): Promise<number> {
    const { size, clusterSize } = this.geometry;
    let clusters = 0;
    let counted = -1;
    for (let at = 0; at < size; ) {
      const run = await this.#lock.shared(() => this.#map.run(at, size - at));
      if (
        run.kind !== "unallocated" &&
        run.kind !== "zero" &&
        (run.kind !== "zero-allocated" || this.geometry.extended)
      ) {
        const first = Math.max(Math.floor(at / clusterSize), counted + 1);
        counted = Math.floor((at + run.length - 1) / clusterSize);
        clusters += Math.max(0, counted + 1 - first);
      }
      at += run.length;
    }
    return clusters;
  }

  /** An image that could not be prepared for writing refuses every change with the same error. */
  #change(work: (writer: Writer) => Promise<void>): Promise<void> {
    return this.#lock.exclusive(async () => {
      this.#writer ??= this.#startWriting();
      await work(await this.#writer);
    });
  }

  async #startWriting(): Promise<Writer> {
    const { limits, backing } = this.#parts;
    const { clusterSize } = this.geometry;
    const rawDataFile = this.#data.external && (this.#parts.header.autoclear & RAW_DATA_FILE) !== 0n;
    const kept = rawDataFile ? RAW_DATA_FILE : 0n;
    if (this.#parts.header.autoclear !== kept) await this.#setAutoclear(kept);
    const header = await this.#clean();
    // Loaded only here: most commands read.
    const [{ Refcounts }, { Writer }] = await Promise.all([import("./refcounts.ts"), import("./writer.ts")]);
    const refcounts = await Refcounts.open({
      container: this.#container,
      geometry: this.geometry,
      header,
      layout: this.#layout,
      limits,
      cacheBytes: this.#parts.cacheBytes ?? CACHE_BYTES,
      onFree: (cluster) => this.#map.l2.drop(cluster * clusterSize, clusterSize),
    });
    for (let i = 0; i < this.#map.l1Entries; i++) {
      const { offset } = this.#map.table(i);
      if (offset !== 0 && !this.#layout.addTable(offset)) {
        throw new StorageError("corrupt", "two tables of the image lie on the same cluster", {
          layer: "qcow2",
          offset,
        });
      }
    }
    return new Writer({
      container: this.#container,
      geometry: this.geometry,
      layout: this.#layout,
      data: this.#data,
      map: this.#map,
      reader: this.#reader,
      refcounts,
      hasBacking: backing !== null,
      rawDataFile,
    });
  }

  /** The header, after the refcounts of a dirty image were made right. */
  async #clean(): Promise<Header> {
    const { header, snapshots, encryption = null, limits } = this.#parts;
    if ((header.incompatible & DIRTY) === 0n) return header;
    const { geometry } = this;
    const container = this.#container;
    const { rebuildRefcounts } = await import("./rebuild.ts");
    const clean = await rebuildRefcounts({ container, geometry, header, snapshots, encryption, limits });
    await this.#map.reload();
    return clean;
  }

  /** Whoever writes without knowing an autoclear feature clears its bit first ("Header", bytes 88-95). */
  async #setAutoclear(bits: bigint): Promise<void> {
    const field = new Uint8Array(8);
    new DataView(field.buffer).setBigUint64(0, bits);
    await this.#container.critical(async () => {
      await this.#container.write(field, AUTOCLEAR_AT);
      await this.#container.flush();
    });
  }
}

/** Guest bytes whose extents are collected at a time. */
const EXTENTS_STEP = 2 ** 34;
