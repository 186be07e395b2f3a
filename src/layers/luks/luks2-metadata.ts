import { alignUp, isPowerOfTwo } from "../../bytes/integers.ts";
import type { Kdf } from "../../crypto/kdf.ts";
import { bad, type JsonRecord } from "./luks2-json.ts";
import { BINARY_HEADER_BYTES } from "./magic.ts";

/** Most objects of a kind (cryptsetup, lib/luks2/luks2.h: LUKS2_KEYSLOTS_MAX, _TOKENS_MAX, _DIGEST_MAX, _SEGMENT_MAX). */
const KEYSLOTS_MAX = 32;
const TOKENS_MAX = 32;
const DIGESTS_MAX = 8;
const SEGMENTS_MAX = 32;
/** The keyslots area is at most 128 MiB (cryptsetup, LUKS2_MAX_KEYSLOTS_SIZE) and a multiple of 4096 bytes. */
const KEYSLOTS_AREA_MAX = 128 * 1024 * 1024;
/** LUKS2, Keyslots Object, "af": the only number of stripes so far. */
const STRIPES = 4000;
/** Salts have 32 bytes and digests at most 64; anything far above is not meant seriously. */
const SALT_MAX = 1024;

interface Luks2Area {
  readonly offset: number;
  readonly size: number;
}

export interface Luks2Keyslot {
  readonly id: number;
  readonly type: string;
  readonly keyBytes: number;
  readonly priority: number;
  readonly area: Luks2Area;
  /** Null: not of the type "luks2", or with a KDF of an unknown type. */
  readonly key: {
    readonly kdf: Kdf;
    readonly afHash: string;
    readonly encryption: string;
    readonly areaKeyBytes: number;
  } | null;
  /** The KDF's type as text, also where it is unknown. */
  readonly kdfType: string | null;
}

export interface Luks2Segment {
  readonly id: number;
  readonly type: string;
  readonly offset: number;
  /** Null: "dynamic", up to the device's end. */
  readonly size: number | null;
  readonly flags: readonly string[];
  /** Null: not of the type "crypt". */
  readonly crypt: {
    readonly ivTweak: number;
    readonly encryption: string;
    readonly sectorSize: number;
    /** Type of the integrity protection, or null. */
    readonly integrity: string | null;
  } | null;
}

export interface Luks2Digest {
  readonly id: number;
  readonly keyslots: readonly number[];
  readonly segments: readonly number[];
  /** Null: not of the type "pbkdf2". */
  readonly pbkdf2: {
    readonly hash: string;
    readonly iterations: number;
    readonly salt: Uint8Array;
    readonly value: Uint8Array;
  } | null;
}

/** The JSON metadata, verified (LUKS2 On-Disk Format 1.1.4, JSON Metadata). Offsets and sizes in bytes. */
export interface Luks2Metadata {
  readonly text: string;
  readonly keyslots: readonly Luks2Keyslot[];
  readonly segments: readonly Luks2Segment[];
  readonly digests: readonly Luks2Digest[];
  /** How a keyslot can be opened by other means (TPM, FIDO2, clevis); what is in them stays in the header. */
  readonly tokens: readonly { readonly id: number; readonly type: string; readonly keyslots: readonly number[] }[];
  readonly flags: readonly string[];
  readonly requirements: readonly string[];
}

/** `headerSize`: of binary header and JSON area. Throws `corrupt` naming the first field that is wrong. */
export function readMetadata(json: JsonRecord, text: string, headerSize: number): Luks2Metadata {
  const keyslots = json.record("keyslots").numbered(KEYSLOTS_MAX).map(keyslot);
  const segments = json.record("segments").numbered(SEGMENTS_MAX).map(segment);
  const digests = json.record("digests").numbered(DIGESTS_MAX).map(digest);
  const tokens = json
    .record("tokens")
    .numbered(TOKENS_MAX)
    .map(({ id, record }) => ({ id, type: record.string("type"), keyslots: references(record, "keyslots") }));
  if (segments.length === 0) throw bad("segments", "is empty");
  for (const d of digests) {
    known(d.keyslots, keyslots, `digests.${d.id}.keyslots`);
    known(d.segments, segments, `digests.${d.id}.segments`);
  }
  for (const t of tokens) known(t.keyslots, keyslots, `tokens.${t.id}.keyslots`);
  for (const s of segments) {
    if (s.crypt && !digests.some((d) => d.segments.includes(s.id))) throw bad(`segments.${s.id}`, "has no digest");
  }
  const config = json.record("config");
  layout(config, headerSize, keyslots, segments);
  return {
    text,
    keyslots,
    segments,
    digests,
    tokens,
    flags: config.has("flags") ? config.strings("flags") : [],
    requirements: requirements(config),
  };
}

function requirements(config: JsonRecord): readonly string[] {
  if (!config.has("requirements")) return [];
  const record = config.record("requirements");
  return record.has("mandatory") ? record.strings("mandatory") : [];
}

interface Entry {
  readonly id: number;
  readonly record: JsonRecord;
}

function keyslot({ id, record }: Entry): Luks2Keyslot {
  const type = record.string("type");
  const keyBytes = record.uint32("key_size", 1);
  const priority = record.has("priority") ? record.uint32("priority") : 1;
  if (priority > 2) throw bad(`${record.path}.priority`, "is above 2");
  const areaRecord = record.record("area");
  const area = { offset: areaRecord.uint64("offset"), size: areaRecord.uint64("size") };
  if (type !== "luks2") return { id, type, keyBytes, priority, area, key: null, kdfType: null };

  const kdfRecord = record.record("kdf");
  const kdf = kdfOf(kdfRecord);
  const af = record.record("af");
  if (af.string("type") !== "luks1" || areaRecord.string("type") !== "raw") {
    throw bad(record.path, "has an unknown type of anti-forensic splitter or area");
  }
  if (af.uint32("stripes") !== STRIPES) throw bad(`${af.path}.stripes`, `is not ${STRIPES}`);
  if (area.size < alignUp(keyBytes * STRIPES, 512)) throw bad(`${areaRecord.path}.size`, "is too small for the key");
  const key = kdf && {
    kdf,
    afHash: af.string("hash"),
    encryption: areaRecord.string("encryption"),
    areaKeyBytes: areaRecord.uint32("key_size", 1),
  };
  return { id, type, keyBytes, priority, area, key, kdfType: kdfRecord.string("type") };
}

/** LUKS2, Keyslots Object, "kdf". Null for a type that is not there. */
function kdfOf(record: JsonRecord): Kdf | null {
  const type = record.string("type");
  const salt = record.base64("salt", SALT_MAX);
  if (type === "pbkdf2") {
    return { type, hash: record.string("hash"), iterations: record.uint32("iterations", 1), salt };
  }
  if (type !== "argon2i" && type !== "argon2id") return null;
  return {
    type,
    time: record.uint32("time", 1),
    memoryKiB: record.uint32("memory", 1),
    cpus: record.uint32("cpus", 1),
    salt,
  };
}

function segment({ id, record }: Entry): Luks2Segment {
  const type = record.string("type");
  const offset = record.uint64("offset");
  const size = record.string("size") === "dynamic" ? null : record.uint64("size");
  if (offset % 512 !== 0) throw bad(`${record.path}.offset`, "is not a multiple of 512");
  if (size !== null && (size === 0 || size % 512 !== 0)) throw bad(`${record.path}.size`, "is not a multiple of 512");
  const flags = record.has("flags") ? record.strings("flags") : [];
  if (type !== "crypt") return { id, type, offset, size, flags, crypt: null };

  const sectorSize = record.uint32("sector_size");
  if (!isPowerOfTwo(sectorSize) || sectorSize < 512 || sectorSize > 4096) {
    throw bad(`${record.path}.sector_size`, "is not 512, 1024, 2048 or 4096");
  }
  if (size !== null && size % sectorSize !== 0)
    throw bad(`${record.path}.size`, "is not a multiple of its sector size");
  return {
    id,
    type,
    offset,
    size,
    flags,
    crypt: {
      ivTweak: record.uint64("iv_tweak"),
      encryption: record.string("encryption"),
      sectorSize,
      integrity: record.has("integrity") ? record.record("integrity").string("type") : null,
    },
  };
}

function digest({ id, record }: Entry): Luks2Digest {
  const keyslots = references(record, "keyslots");
  const segments = references(record, "segments");
  if (record.string("type") !== "pbkdf2") return { id, keyslots, segments, pbkdf2: null };
  return {
    id,
    keyslots,
    segments,
    pbkdf2: {
      hash: record.string("hash"),
      iterations: record.uint32("iterations", 1),
      salt: record.base64("salt", SALT_MAX),
      value: record.base64("digest", SALT_MAX),
    },
  };
}

function references(record: JsonRecord, key: string): readonly number[] {
  return record.strings(key).map((text) => {
    if (!/^\d{1,5}$/.test(text)) throw bad(`${record.path}.${key}`, "holds something that is not a number");
    return Number(text);
  });
}

function known(ids: readonly number[], objects: readonly { readonly id: number }[], path: string): void {
  for (const id of ids) if (!objects.some((o) => o.id === id)) throw bad(path, `names ${id}, which does not exist`);
}

/** Nothing may overlap: header, header, keyslot areas inside the keyslots area, data (LUKS2, Keyslots Area). */
function layout(
  config: JsonRecord,
  headerSize: number,
  keyslots: readonly Luks2Keyslot[],
  segments: readonly Luks2Segment[],
): void {
  if (config.uint64("json_size") !== headerSize - BINARY_HEADER_BYTES) {
    throw bad("config.json_size", "is not the size of the JSON area");
  }
  const areaSize = config.uint64("keyslots_size");
  if (areaSize > KEYSLOTS_AREA_MAX || areaSize % 4096 !== 0) throw bad("config.keyslots_size", "is not a valid size");
  const start = 2 * headerSize;
  const end = start + areaSize;
  const byOffset = [...keyslots].sort((a, b) => a.area.offset - b.area.offset);
  byOffset.forEach(({ id, area }, i) => {
    const path = `keyslots.${id}.area`;
    if (area.size === 0) throw bad(path, "is empty");
    if (area.offset < start || area.offset + area.size > end) throw bad(path, "lies outside the keyslots area");
    const before = byOffset[i - 1];
    if (before && area.offset < before.area.offset + before.area.size) {
      throw bad(path, `overlaps that of keyslot ${before.id}`);
    }
  });
  // Offset 0 occurs in detached headers, where the data is on another device.
  for (const s of segments) {
    if (s.crypt && !isBackup(s) && s.offset !== 0 && s.offset < end) {
      throw bad(`segments.${s.id}.offset`, "lies in the keyslots area");
    }
  }
}

/** Segments that a re-encryption keeps to go back to; they describe no data (LUKS2, Segments Object, "flags"). */
export function isBackup(segment: Luks2Segment): boolean {
  return segment.flags.some((flag) => flag.startsWith("backup-"));
}
