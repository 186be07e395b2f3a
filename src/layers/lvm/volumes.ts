import { checked } from "../../core/checked.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Limits } from "../../core/limits.ts";
import { slice } from "../../core/slice.ts";
import { openCache } from "./cache/cache.ts";
import { openWritecache } from "./cache/writecache.ts";
import type { LogicalVolume, PhysicalVolume, VolumeGroup } from "./model.ts";
import { openRaidVolume, type RaidMember } from "./raid/array.ts";
import { type MirrorLeg, openOldMirror } from "./raid/mirror.ts";
import type { Relations } from "./relations.ts";
import { type Run, runsDevice } from "./runs.ts";
import type {
  CachePoolSegment,
  CacheSegment,
  LvSegment,
  MirrorSegment,
  RaidSegment,
  ThinPoolSegment,
  ThinSegment,
  WritecacheSegment,
} from "./segments.ts";
import { openSnapshot } from "./snapshot/snapshot-device.ts";
import { openThinPool, type ThinPool } from "./thin/pool.ts";
import { openThinVolume } from "./thin/volume.ts";

/** An opened LV. Its device lives as long as the group's members; it is never disposed of by itself. */
export interface Built {
  /** Writable as far as what lies below is; whether an LV may be written is for the plan and `readOnly` to say. */
  readonly device: BlockDevice;
  readonly findings: readonly Finding[];
  /** Why nothing must be written although the metadata text permits it, or null. */
  readonly readOnly: string | null;
}

export interface VolumesOptions {
  readonly vg: VolumeGroup;
  readonly relations: Relations;
  /** The device of a PV, or why its bytes must not be used. */
  readonly deviceOf: (pv: PhysicalVolume) => BlockDevice | string;
  readonly writable: boolean;
  readonly limits: Limits;
}

/**
 * Builds LVs out of PVs and other LVs, each once however many others stand on it. Only LVs that the Checker accepts may be asked for: it
 * is what ends loops.
 */
export class Volumes {
  readonly #o: VolumesOptions;
  readonly #contents = new Map<string, Promise<Built>>();
  readonly #pools = new Map<string, Promise<ThinPool>>();

  constructor(options: VolumesOptions) {
    this.#o = options;
  }

  /** The LV as LVM would show it: a snapshot's or merging origin's view where it has one. */
  async volume(name: string): Promise<Built> {
    const { vg, relations } = this.#o;
    const replacement = relations.thinMerges.get(name);
    if (replacement !== undefined) return this.content(replacement);
    const link = relations.byStore.get(name) ?? relations.byOrigin.get(name)?.find((l) => l.merging);
    if (!link) return this.content(name);
    const origin = await this.content(link.origin);
    const store = await this.content(link.store);
    const device = await openSnapshot({
      origin: origin.device,
      store: store.device,
      size: link.extents * vg.extentSize,
      limits: this.#o.limits,
    });
    const findings = [...origin.findings, ...store.findings];
    if (link.merging) findings.push(mergeFinding(link.store, link.origin));
    return { device, findings, readOnly: null };
  }

  /** What the LV's own segments say. */
  content(name: string): Promise<Built> {
    const known = this.#contents.get(name);
    if (known) return known;
    const built = this.#build(this.#o.vg.lvs.get(name)!);
    this.#contents.set(name, built);
    // Whoever asked gets the rejection; this only keeps it from counting as unhandled.
    built.catch(() => undefined);
    return built;
  }

  /** A thin pool, once for all volumes in it. */
  pool(name: string): Promise<ThinPool> {
    const known = this.#pools.get(name);
    if (known) return known;
    const pool = this.#openPool(name);
    this.#pools.set(name, pool);
    pool.catch(() => undefined);
    return pool;
  }

  async #openPool(name: string): Promise<ThinPool> {
    const segment = this.#o.vg.lvs.get(name)!.segments[0] as ThinPoolSegment;
    const metadata = await this.content(segment.metadata);
    const data = await this.content(segment.data);
    const pool = await openThinPool(name, segment, metadata.device, data.device);
    return {
      ...pool,
      findings: [...metadata.findings, ...data.findings, ...pool.findings],
      readOnly: pool.readOnly ?? data.readOnly,
    };
  }

  async #thin(s: ThinSegment, length: number): Promise<Built> {
    const pool = await this.pool(s.pool);
    const origin = s.externalOrigin === null ? null : await this.content(s.externalOrigin);
    const device = await openThinVolume({
      pool,
      deviceId: s.deviceId,
      size: length,
      externalOrigin: origin?.device ?? null,
      writable: this.#o.writable,
    });
    return { device, findings: [...pool.findings, ...(origin?.findings ?? [])], readOnly: pool.readOnly };
  }

  async #raid(lv: LogicalVolume, s: RaidSegment, length: number): Promise<Built> {
    const members: RaidMember[] = [];
    for (const area of s.areas) {
      const image = await this.#ifThere(area.image);
      const meta = area.meta === null ? null : await this.#ifThere(area.meta);
      const { status, segments } = this.#o.vg.lvs.get(area.image)!;
      members.push({
        image: image?.device ?? null,
        meta: meta?.device ?? null,
        unusable: imageProblem(status, segments),
        writeMostly: status.includes("WRITEMOSTLY"),
      });
    }
    return openRaidVolume({
      name: lv.name,
      segment: s,
      length,
      members,
      neverSynced: lv.status.includes("NOTSYNCED"),
      writable: this.#o.writable,
    });
  }

  async #mirror(lv: LogicalVolume, s: MirrorSegment, length: number): Promise<Built> {
    const legs: MirrorLeg[] = [];
    for (const area of s.areas) {
      const place = await ifReadable(this.#area(area.name));
      legs.push(place && { device: place.device, at: place.at + area.extent * this.#o.vg.extentSize });
    }
    const log = s.log === null ? null : await this.#ifThere(s.log);
    const { leg, findings } = await openOldMirror(lv.name, legs, log?.device ?? null, Math.ceil(length / s.regionSize));
    return { device: slice(leg.device, leg.at, length, "lvm"), findings, readOnly: null };
  }

  async #cache(lv: LogicalVolume, s: CacheSegment): Promise<Built> {
    const origin = await this.content(s.origin);
    const part = await this.#cacheParts(s);
    const opened = await openCache({ ...part, name: lv.name, origin: origin.device, limits: this.#o.limits });
    return { device: opened.device, findings: [...origin.findings, ...opened.findings], readOnly: "it is cached" };
  }

  /** Metadata and data of a cache: LVs of a pool, or two areas of one LV. */
  async #cacheParts(s: CacheSegment) {
    if (s.volume) {
      const { metadataStart, metadataLength, dataStart, dataLength, chunkSize, mode } = s.volume;
      const { device } = await this.content(s.pool);
      const area = (at: number, bytes: number) => {
        if (at + bytes <= device.size) return slice(device, at, bytes, "lvm");
        throw new StorageError("corrupt", `${s.pool}: the cache's areas reach beyond its end`, { layer: "lvm" });
      };
      return { metadata: area(metadataStart, metadataLength), data: area(dataStart, dataLength), chunkSize, mode };
    }
    const pool = this.#o.vg.lvs.get(s.pool)!.segments[0] as CachePoolSegment;
    const metadata = await this.content(pool.metadata);
    const data = await this.content(pool.data);
    return { metadata: metadata.device, data: data.device, chunkSize: pool.chunkSize, mode: pool.mode };
  }

  async #writecache(lv: LogicalVolume, s: WritecacheSegment): Promise<Built> {
    const origin = await this.content(s.origin);
    const cache = await this.content(s.cache);
    const { limits } = this.#o;
    const { blockSize } = s;
    const device = await openWritecache({
      name: lv.name,
      origin: origin.device,
      cache: cache.device,
      blockSize,
      limits,
    });
    return { device, findings: [...origin.findings, ...cache.findings], readOnly: "it is cached" };
  }

  #ifThere(name: string): Promise<Built | null> {
    return ifReadable(this.content(name));
  }

  async #build(lv: LogicalVolume): Promise<Built> {
    const runs: Run[] = [];
    const findings: Finding[] = [];
    let readOnly: string | null = null;
    for (const segment of lv.segments) {
      const part = await this.#segment(lv, segment);
      findings.push(...part.findings);
      readOnly ??= part.readOnly;
      runs.push(part.run);
    }
    return { device: runsDevice(runs, this.#o.writable), findings: unique(findings), readOnly };
  }

  async #segment(lv: LogicalVolume, s: LvSegment): Promise<Omit<Built, "device"> & { readonly run: Run }> {
    const { extentSize } = this.#o.vg;
    const offset = s.start * extentSize;
    const length = s.count * extentSize;
    if (s.kind === "zero")
      return { run: { offset, length, stripeSize: length, places: [] }, findings: [], readOnly: null };
    if (s.kind === "striped") {
      const areas = await Promise.all(s.areas.map((a) => this.#area(a.name)));
      const places = areas.map((a, i) => ({ device: a.device, at: a.at + s.areas[i]!.extent * extentSize }));
      const stripeSize = places.length > 1 ? s.stripeSize : length;
      return {
        run: { offset, length, stripeSize, places },
        findings: areas.flatMap((a) => a.findings),
        readOnly: areas.find((a) => a.readOnly !== null)?.readOnly ?? null,
      };
    }
    const target = await this.#target(lv, s, length);
    if (target.device.size < length) {
      throw new StorageError(
        "corrupt",
        `${lv.name}: ${target.device.size} bytes are there for a segment of ${length}`,
        {
          layer: "lvm",
        },
      );
    }
    const places = [{ device: target.device, at: 0 }];
    return { ...target, run: { offset, length, stripeSize: length, places } };
  }

  /** The device of a segment that is a device-mapper target of its own; at least `length` bytes. */
  async #target(lv: LogicalVolume, s: LvSegment, length: number): Promise<Built> {
    switch (s.kind) {
      case "error":
        return { device: errorDevice(length, lv.name), findings: [], readOnly: null };
      case "thin":
        return this.#thin(s, length);
      case "raid":
        return this.#raid(lv, s, length);
      case "mirror":
        return this.#mirror(lv, s, length);
      case "cache":
        return this.#cache(lv, s);
      case "writecache":
        return this.#writecache(lv, s);
      default:
        throw new StorageError("unsupported", `segment type ${s.type} is not supported`, {
          layer: "lvm",
          feature: s.type,
        });
    }
  }

  /** A PV, or another LV; `at`: byte offset of its first extent. */
  async #area(name: string): Promise<Built & { readonly at: number }> {
    const { vg, deviceOf } = this.#o;
    const pv = vg.pvs.get(name);
    if (!pv) return { ...(await this.content(name)), at: 0 };
    const device = deviceOf(pv);
    if (typeof device === "string") throw new StorageError("io", device, { layer: "lvm" });
    return { device, findings: [], readOnly: null, at: pv.peStart };
  }
}

function mergeFinding(snapshot: string, origin: string): Finding {
  const message = `snapshot ${snapshot} is being merged into ${origin}: what is shown is how it will be afterwards`;
  return { severity: "info", code: "lvm-snapshot-merging", message, layer: "lvm" };
}

/** Null when a device is missing: the layout may make up for that. */
async function ifReadable<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof StorageError && error.code === "io") return null;
    throw error;
  }
}

/** Why LVM itself does not use an image although it is there, or null. */
function imageProblem(status: readonly string[], segments: readonly LvSegment[]): string | null {
  // add_areas_line in lib/activate/dev_manager.c leaves out an image that was split off to be read by itself.
  if (!status.includes("WRITE")) return "it is split off (--trackchanges)";
  if (status.includes("REBUILD")) return "it is to be rebuilt";
  return segments.some((s) => s.kind === "error") ? "a part of it is lost" : null;
}

/** Where there is nothing to read or write, by LVM's own word (device-mapper's error target). */
function errorDevice(size: number, name: string): BlockDevice {
  const fail = async () => {
    throw new StorageError("io", `${name}: this part of it is lost (an error segment)`, { layer: "lvm" });
  };
  const caps = {
    writable: false,
    alignment: 1,
    sectorSize: 512,
    optimalIo: 4096,
    extents: false,
    zero: false,
    discard: false,
  };
  return checked(
    {
      size,
      caps,
      read: fail,
      write: fail,
      zero: fail,
      discard: fail,
      async *extents(offset, length) {
        yield { offset, length, kind: "data" };
      },
      async flush() {},
      async [Symbol.asyncDispose]() {},
    },
    "lvm",
  );
}

function unique(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((f) => [`${f.code} ${f.message}`, f])).values()];
}
