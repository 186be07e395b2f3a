import { checked } from "../../core/checked.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Limits } from "../../core/limits.ts";
import { slice } from "../../core/slice.ts";
import type { LogicalVolume, VolumeGroup } from "./model.ts";
import type { RaidMember } from "./raid/array.ts";
import type { MirrorLeg } from "./raid/mirror.ts";
import type {
  CachePoolSegment,
  CacheSegment,
  LvSegment,
  MirrorSegment,
  RaidSegment,
  StripeArea,
  WritecacheSegment,
} from "./segments.ts";

/** An opened LV. Its device lives as long as the group's members; it is never disposed of by itself. */
export interface Built {
  /** Writable as far as what lies below is; whether an LV may be written is for the plan and `readOnly` to say. */
  readonly device: BlockDevice;
  readonly findings: readonly Finding[];
  /** Why nothing must be written although the metadata text permits it, or null. */
  readonly readOnly: string | null;
}

/** What segments that are device-mapper targets of their own are made of. */
export interface Parts {
  readonly vg: VolumeGroup;
  readonly writable: boolean;
  readonly limits: Limits;
  /** An LV by its segments. */
  content(name: string): Promise<Built>;
  /** `length` bytes on a PV or another LV, from byte `at` of its device. Throws `io` when they are not there. */
  area(area: StripeArea, length: number): Promise<Built & { readonly at: number }>;
}

export async function raidVolume(p: Parts, lv: LogicalVolume, s: RaidSegment, length: number): Promise<Built> {
  const members: RaidMember[] = [];
  const parts: Built[] = [];
  for (const area of s.areas) {
    const image = await ifThere(p, area.image);
    const meta = area.meta === null ? null : await ifThere(p, area.meta);
    const { status, segments } = p.vg.lvs.get(area.image)!;
    for (const part of [image, meta]) if (part) parts.push(part);
    members.push({
      image: image?.device ?? null,
      meta: meta?.device ?? null,
      unusable: imageProblem(status, segments),
      writeMostly: status.includes("WRITEMOSTLY"),
    });
  }
  const { openRaidVolume } = await import("./raid/array.ts");
  const array = await openRaidVolume({
    name: lv.name,
    segment: s,
    length,
    members,
    neverSynced: lv.status.includes("NOTSYNCED"),
    writable: p.writable,
  });
  return {
    device: array.device,
    findings: [...parts.flatMap((part) => part.findings), ...array.findings],
    readOnly: array.readOnly ?? parts.find((part) => part.readOnly !== null)?.readOnly ?? null,
  };
}

export async function oldMirror(p: Parts, lv: LogicalVolume, s: MirrorSegment, length: number): Promise<Built> {
  const legs: MirrorLeg[] = [];
  for (const area of s.areas) {
    const place = await ifReadable(p.area(area, length));
    legs.push(place && { device: place.device, at: place.at });
  }
  const log = s.log === null ? null : await ifThere(p, s.log);
  const { openOldMirror } = await import("./raid/mirror.ts");
  const { leg, findings } = await openOldMirror(lv.name, legs, log?.device ?? null, Math.ceil(length / s.regionSize));
  return { device: slice(leg.device, leg.at, length, "lvm"), findings, readOnly: null };
}

export async function cachedVolume(p: Parts, lv: LogicalVolume, s: CacheSegment): Promise<Built> {
  const origin = await p.content(s.origin);
  const part = await cacheParts(p, s);
  const { openCache } = await import("./cache/cache.ts");
  const opened = await openCache({ ...part, name: lv.name, origin: origin.device, limits: p.limits });
  return { device: opened.device, findings: [...origin.findings, ...opened.findings], readOnly: "it is cached" };
}

/** Metadata and data of a cache: LVs of a pool, or two areas of one LV. */
async function cacheParts(p: Parts, s: CacheSegment) {
  if (s.volume) {
    const { metadataStart, metadataLength, dataStart, dataLength, chunkSize, mode } = s.volume;
    const { device } = await p.content(s.pool);
    const area = (at: number, bytes: number) => {
      if (at + bytes <= device.size) return slice(device, at, bytes, "lvm");
      throw new StorageError("corrupt", `${s.pool}: the cache's areas reach beyond its end`, { layer: "lvm" });
    };
    return { metadata: area(metadataStart, metadataLength), data: area(dataStart, dataLength), chunkSize, mode };
  }
  const pool = p.vg.lvs.get(s.pool)!.segments[0] as CachePoolSegment;
  const metadata = await p.content(pool.metadata);
  const data = await p.content(pool.data);
  return { metadata: metadata.device, data: data.device, chunkSize: pool.chunkSize, mode: pool.mode };
}

export async function writecachedVolume(p: Parts, lv: LogicalVolume, s: WritecacheSegment): Promise<Built> {
  const origin = await p.content(s.origin);
  const cache = await p.content(s.cache);
  const { limits } = p;
  const { blockSize } = s;
  const { openWritecache } = await import("./cache/writecache.ts");
  const device = await openWritecache({
    name: lv.name,
    origin: origin.device,
    cache: cache.device,
    blockSize,
    limits,
  });
  return { device, findings: [...origin.findings, ...cache.findings], readOnly: "it is cached" };
}

function ifThere(p: Parts, name: string): Promise<Built | null> {
  return ifReadable(p.content(name));
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
export function errorDevice(size: number, name: string): BlockDevice {
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
