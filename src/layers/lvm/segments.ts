import {
  corrupt,
  count,
  isCount,
  optionalCount,
  optionalString,
  positive,
  requiredString,
  sectorsToBytes,
} from "./fields.ts";
import { isSection, type Section, type Value } from "./text.ts";

export interface StripeArea {
  /** A PV's or LV's name. */
  readonly name: string;
  /** First extent there. */
  readonly extent: number;
}

export interface RaidArea {
  /** The LV with the superblock and the write-intent bitmap; raid0 has none. */
  readonly meta: string | null;
  readonly image: string;
}

interface Common {
  /** Extents of the LV. */
  readonly start: number;
  readonly count: number;
  /** As written, without flags; a linear segment is written as `striped` with one stripe. */
  readonly type: string;
  /** What follows the type, each after a `+`: features that change what the segment means (lib/format_text/flags.c). */
  readonly typeFlags: readonly string[];
}

export interface StripedSegment extends Common {
  readonly kind: "striped";
  /** Bytes; 0 with one stripe. */
  readonly stripeSize: number;
  readonly areas: readonly StripeArea[];
}

export interface MirrorSegment extends Common {
  readonly kind: "mirror";
  readonly areas: readonly StripeArea[];
  /** Null: the log is in memory only. */
  readonly log: string | null;
  /** Bytes. */
  readonly regionSize: number;
}

export interface RaidSegment extends Common {
  readonly kind: "raid";
  readonly areas: readonly RaidArea[];
  /** Bytes; 0: none is written (raid1). */
  readonly stripeSize: number;
  /** raid10: copies of each chunk. */
  readonly dataCopies: number;
  /** Segments of raid LVs with one of these are in the middle of a change of their layout. */
  readonly reshaping: boolean;
}

/** The link between an origin and the LV that stores what a snapshot has of its own. */
export interface SnapshotSegment extends Common {
  readonly kind: "snapshot";
  readonly origin: string;
  readonly store: string;
  readonly merging: boolean;
}

export interface ThinPoolSegment extends Common {
  readonly kind: "thin-pool";
  readonly metadata: string;
  readonly data: string;
  readonly transactionId: number;
  /** Bytes. */
  readonly chunkSize: number;
  /** LVM has messages for the kernel that it has not sent yet: the pool may be one transaction behind. */
  readonly messages: boolean;
}

export interface ThinSegment extends Common {
  readonly kind: "thin";
  readonly pool: string;
  readonly deviceId: number;
  readonly externalOrigin: string | null;
  /** The thin LV that this snapshot of it is to replace at the next activation. */
  readonly merge: string | null;
}

export interface CachePoolSegment extends Common {
  readonly kind: "cache-pool";
  readonly metadata: string;
  readonly data: string;
  /** Bytes. */
  readonly chunkSize: number;
  readonly mode: string | null;
}

export interface CacheSegment extends Common {
  readonly kind: "cache";
  readonly origin: string;
  readonly pool: string;
  /** Null: `pool` is a cache pool. Else `pool` is one LV that holds both; bytes in it. */
  readonly volume: {
    readonly metadataStart: number;
    readonly metadataLength: number;
    readonly dataStart: number;
    readonly dataLength: number;
    readonly chunkSize: number;
    readonly mode: string | null;
  } | null;
}

export interface WritecacheSegment extends Common {
  readonly kind: "writecache";
  readonly origin: string;
  readonly cache: string;
  /** Bytes. */
  readonly blockSize: number;
}

export interface OtherSegment extends Common {
  /** zero reads as zeros, error fails on every access, other is not known here. */
  readonly kind: "zero" | "error" | "other";
}

export type LvSegment =
  | StripedSegment
  | MirrorSegment
  | RaidSegment
  | SnapshotSegment
  | ThinPoolSegment
  | ThinSegment
  | CachePoolSegment
  | CacheSegment
  | WritecacheSegment
  | OtherSegment;

/** Reads one segment (lib/format_text/import_vsn1.c and text_import in the segment types of lib/). Contradictions are `corrupt`. */
export function readSegment(where: string, s: Section): LvSegment {
  const [type = "", ...typeFlags] = requiredString(s, "type", where).split("+");
  const extents = positive(s, "extent_count", where);
  const common = { start: count(s, "start_extent", where), count: extents, type, typeFlags };
  // A flag that is not known may change anything: what follows is not even looked at.
  if (typeFlags.some((flag) => !KNOWN_TYPE_FLAGS.has(flag))) return { ...common, kind: "other" };
  const bytes = (key: string) => sectorsToBytes(count(s, key, where), `${where}: ${key}`);
  const bytesOr0 = (key: string) => sectorsToBytes(optionalCount(s, key) ?? 0, `${where}: ${key}`);
  switch (type) {
    // `linear` is only a name in the tools; older versions may have written it.
    case "linear":
    case "striped":
      return { ...common, kind: "striped", ...readStripes(where, s, extents) };
    case "mirror": {
      const areas = readAreas(s.get("mirrors"), where, "mirrors");
      if (areas.length !== positive(s, "mirror_count", where)) throw corrupt(`${where}: mirror_count is wrong`);
      return {
        ...common,
        kind: "mirror",
        areas,
        log: optionalString(s, "mirror_log"),
        regionSize: bytesOr0("region_size"),
      };
    }
    case "snapshot": {
      const merging = optionalString(s, "merging_store");
      const store = merging ?? requiredString(s, "cow_store", where);
      return {
        ...common,
        kind: "snapshot",
        origin: requiredString(s, "origin", where),
        store,
        merging: merging !== null,
      };
    }
    case "thin-pool":
      return {
        ...common,
        kind: "thin-pool",
        metadata: requiredString(s, "metadata", where),
        data: requiredString(s, "pool", where),
        transactionId: count(s, "transaction_id", where),
        chunkSize: bytes("chunk_size"),
        messages: [...s].some(([, value]) => isSection(value)),
      };
    case "thin":
      return {
        ...common,
        kind: "thin",
        pool: requiredString(s, "thin_pool", where),
        deviceId: count(s, "device_id", where),
        externalOrigin: optionalString(s, "external_origin"),
        merge: optionalString(s, "merge"),
      };
    case "cache-pool":
      return {
        ...common,
        kind: "cache-pool",
        metadata: requiredString(s, "metadata", where),
        data: requiredString(s, "data", where),
        chunkSize: bytesOr0("chunk_size"),
        mode: optionalString(s, "cache_mode"),
      };
    case "cache":
      return {
        ...common,
        kind: "cache",
        origin: requiredString(s, "origin", where),
        pool: requiredString(s, "cache_pool", where),
        volume: s.has("data_len")
          ? {
              metadataStart: bytesOr0("metadata_start"),
              metadataLength: bytes("metadata_len"),
              dataStart: bytes("data_start"),
              dataLength: bytes("data_len"),
              chunkSize: bytesOr0("chunk_size"),
              mode: optionalString(s, "cache_mode"),
            }
          : null,
      };
    case "writecache":
      return {
        ...common,
        kind: "writecache",
        origin: requiredString(s, "origin", where),
        cache: requiredString(s, "writecache", where),
        blockSize: positive(s, "writecache_block_size", where),
      };
    case "zero":
    case "error":
      return { ...common, kind: type };
    default:
      return /^raid\d/.test(type)
        ? { ...common, kind: "raid", ...readRaid(where, s, type) }
        : { ...common, kind: "other" };
  }
}

/** Flags that stand behind a type and of which this program knows what they mean. */
const KNOWN_TYPE_FLAGS: ReadonlySet<string> = new Set(["METADATA_FORMAT", "CACHE_USES_CACHEVOL", "CROP_METADATA"]);

function readStripes(where: string, s: Section, extents: number) {
  const areas = readAreas(s.get("stripes"), where, "stripes");
  const stripes = positive(s, "stripe_count", where);
  if (areas.length !== stripes)
    throw corrupt(`${where}: ${areas.length} stripes are listed, stripe_count is ${stripes}`);
  if (extents % stripes !== 0) throw corrupt(`${where}: ${extents} extents cannot be spread over ${stripes} stripes`);
  const stripeSize = stripes > 1 ? sectorsToBytes(positive(s, "stripe_size", where), `${where}: stripe_size`) : 0;
  return { areas, stripeSize };
}

/** raid0 lists images only; all others pairs of metadata LV and image (lib/raid/raid.c). */
function readRaid(where: string, s: Section, type: string) {
  const key = type === "raid0" ? "raid0_lvs" : "raids";
  const list = s.get(key);
  if (!Array.isArray(list) || !list.every((name) => typeof name === "string"))
    throw corrupt(`${where}: ${key} is no list`);
  const names = list as readonly string[];
  const paired = type !== "raid0";
  if (names.length === 0 || (paired && names.length % 2 !== 0)) throw corrupt(`${where}: ${key} is no list of pairs`);
  const areas: RaidArea[] = [];
  for (let i = 0; i < names.length; i += paired ? 2 : 1) {
    areas.push(paired ? { meta: names[i]!, image: names[i + 1]! } : { meta: null, image: names[i]! });
  }
  const total = optionalCount(s, "device_count") ?? count(s, "stripe_count", where);
  if (total !== areas.length) throw corrupt(`${where}: ${areas.length} devices are listed, there should be ${total}`);
  return {
    areas,
    stripeSize: sectorsToBytes(optionalCount(s, "stripe_size") ?? 0, `${where}: stripe_size`),
    dataCopies: optionalCount(s, "data_copies") ?? 2,
    reshaping: (optionalCount(s, "reshape_count") ?? 0) > 0 || (optionalCount(s, "data_offset") ?? 0) > 0,
  };
}

function readAreas(value: Value | undefined, where: string, key: string): StripeArea[] {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw corrupt(`${where}: ${key} is not a list of pairs`);
  const areas: StripeArea[] = [];
  for (let i = 0; i < value.length; i += 2) {
    const name: unknown = value[i];
    const extent: unknown = value[i + 1];
    if (typeof name !== "string" || !isCount(extent)) throw corrupt(`${where}: ${key} is not a list of pairs`);
    areas.push({ name, extent });
  }
  return areas;
}

/** As `lvs -o lv_layout` names the plain ones. */
export function segmentName(s: LvSegment): string {
  return s.kind === "striped" ? (s.areas.length > 1 ? "striped" : "linear") : [s.type, ...s.typeFlags].join("+");
}
