import { StorageError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { withinLimit } from "../../core/numbers.ts";
import {
  corrupt,
  count,
  LAYER,
  optionalCount,
  optionalString,
  positive,
  requiredString,
  section,
  sectorsToBytes,
  strings,
} from "./fields.ts";
import { type LvSegment, readSegment } from "./segments.ts";
import { isSection, parseText, type Section, TextError, TextTooLarge } from "./text.ts";

/** lib/misc/lvm-string.c: validate_name; at most NAME_LEN - 1 characters (lib/metadata/metadata-exported.h). */
const NAME = /^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]{0,126}$/;

export interface PhysicalVolume {
  /** Only the name inside this text (`pv0`). */
  readonly name: string;
  readonly uuid: string;
  /** Bytes. */
  readonly devSize: number;
  /** Byte offset of physical extent 0. */
  readonly peStart: number;
  /** Extents. */
  readonly peCount: number;
  /** The MISSING flag: it was away when the VG was changed, so its data may be old. */
  readonly missing: boolean;
}

export interface LogicalVolume {
  readonly name: string;
  readonly uuid: string;
  readonly status: readonly string[];
  readonly flags: readonly string[];
  readonly tags: readonly string[];
  /** Seconds since 1970. */
  readonly creationTime: number | null;
  readonly creationHost: string | null;
  readonly segments: readonly LvSegment[];
  /** Extents. */
  readonly extents: number;
  /** What contradicts itself in the description of this LV, or null. */
  readonly problem: string | null;
}

export interface VolumeGroup {
  readonly name: string;
  readonly uuid: string;
  readonly seqno: number;
  readonly format: string;
  readonly status: readonly string[];
  readonly flags: readonly string[];
  readonly tags: readonly string[];
  readonly systemId: string | null;
  readonly lockType: string | null;
  /** Bytes. */
  readonly extentSize: number;
  readonly pvs: ReadonlyMap<string, PhysicalVolume>;
  readonly lvs: ReadonlyMap<string, LogicalVolume>;
  readonly creationTime: number | null;
  readonly creationHost: string | null;
  readonly description: string | null;
}

/** UUIDs of all physical volumes that the metadata names. */
export function vgMembersOf(vg: VolumeGroup): readonly string[] {
  return [...vg.pvs.values()].map((pv) => pv.uuid);
}

/**
 * The volume group that a metadata text describes (lib/format_text/import_vsn1.c). Throws `corrupt` when the group itself makes no sense
 * and `limit` when there are too many segments; what is wrong with one LV is that LV's `problem`.
 */
export function readVolumeGroup(text: string, limits: Pick<Limits, "lvmSegments" | "lvmValues">): VolumeGroup {
  const root = parse(text, limits.lvmValues);
  if (root.get("contents") !== "Text Format Volume Group" || root.get("version") !== 1) {
    throw new StorageError("unsupported", `metadata of version ${String(root.get("version"))} is not known`, {
      layer: LAYER,
      feature: "metadata version",
    });
  }
  const first = [...root].find(([, value]) => isSection(value));
  if (!first) throw corrupt("the metadata has no volume group");
  const [name, body] = first as [string, Section];
  if (!NAME.test(name)) throw corrupt("the volume group's name has characters that LVM does not allow");
  const format = optionalString(body, "format") ?? "lvm2";
  if (format !== "lvm2") throw new StorageError("unsupported", `format ${format}`, { layer: LAYER, feature: format });
  const extentSize = sectorsToBytes(positive(body, "extent_size", name), `${name}: extent_size`);
  const pvs = readAll(section(body, "physical_volumes"), (pvName, s) => physicalVolume(pvName, s, extentSize));
  if (new Set([...pvs.values()].map((pv) => pv.uuid)).size !== pvs.size) {
    throw corrupt(`${name}: two physical volumes have the same UUID`);
  }
  const budget = { left: limits.lvmSegments, max: limits.lvmSegments };
  const lvs = readAll(section(body, "logical_volumes"), (lvName, s) => logicalVolume(lvName, s, extentSize, budget));
  return {
    name,
    uuid: requiredString(body, "id", name),
    seqno: count(body, "seqno", name),
    format,
    status: strings(body.get("status")),
    flags: strings(body.get("flags")),
    tags: strings(body.get("tags")),
    systemId: optionalString(body, "system_id"),
    lockType: optionalString(body, "lock_type"),
    extentSize,
    pvs,
    lvs,
    creationTime: optionalCount(root, "creation_time"),
    creationHost: optionalString(root, "creation_host"),
    description: optionalString(root, "description"),
  };
}

function parse(text: string, most: number): Section {
  try {
    return parseText(text, most);
  } catch (error) {
    if (error instanceof TextTooLarge) {
      throw new StorageError("limit", `the metadata text holds more than ${most} values`, {
        layer: LAYER,
        hint: "if this disk is really meant to be so, raise it with --limit lvmValues=N",
      });
    }
    if (!(error instanceof TextError)) throw error;
    throw new StorageError("corrupt", `metadata text, character ${error.at}: ${error.message}`, {
      layer: LAYER,
      cause: error,
    });
  }
}

function readAll<T>(from: Section, read: (name: string, s: Section) => T): Map<string, T> {
  const out = new Map<string, T>();
  for (const [name, value] of from) {
    if (!isSection(value)) continue;
    if (!NAME.test(name)) throw corrupt("a name has characters that LVM does not allow");
    out.set(name, read(name, value));
  }
  return out;
}

function physicalVolume(name: string, s: Section, extentSize: number): PhysicalVolume {
  const peCount = count(s, "pe_count", name);
  const peStart = sectorsToBytes(count(s, "pe_start", name), `${name}: pe_start`);
  if (!Number.isSafeInteger(peStart + peCount * extentSize)) throw corrupt(`${name}: its extents cannot be addressed`);
  return {
    name,
    uuid: requiredString(s, "id", name),
    devSize: sectorsToBytes(optionalCount(s, "dev_size") ?? 0, `${name}: dev_size`),
    peStart,
    peCount,
    missing: [...strings(s.get("flags")), ...strings(s.get("status"))].includes("MISSING"),
  };
}

interface Budget {
  left: number;
  readonly max: number;
}

function logicalVolume(name: string, s: Section, extentSize: number, budget: Budget): LogicalVolume {
  const uuid = requiredString(s, "id", name);
  const parsed = readSegments(name, s, budget);
  const extents = parsed.segments.reduce((sum, seg) => sum + seg.count, 0);
  if (!Number.isSafeInteger(extents * extentSize)) throw corrupt(`${name}: its size cannot be addressed`);
  return {
    name,
    uuid,
    status: strings(s.get("status")),
    flags: strings(s.get("flags")),
    tags: strings(s.get("tags")),
    creationTime: optionalCount(s, "creation_time"),
    creationHost: optionalString(s, "creation_host"),
    segments: parsed.segments,
    extents,
    problem: parsed.problem,
  };
}

/** Segments in order; the first contradiction ends the list and is the LV's problem. */
function readSegments(name: string, s: Section, budget: Budget): { segments: LvSegment[]; problem: string | null } {
  const segments: LvSegment[] = [];
  try {
    const total = count(s, "segment_count", name);
    const there = [...s].filter(([, value]) => isSection(value)).length;
    budget.left -= there;
    if (budget.left < 0)
      withinLimit(budget.max - budget.left, budget.max, "lvmSegments", "segments of logical volumes", LAYER);
    if (there !== total) throw corrupt(`${name}: segment_count is ${total}, but there are ${there} segments`);
    let start = 0;
    for (let i = 1; i <= total; i++) {
      const segment = readSegment(`${name}/segment${i}`, section(s, `segment${i}`, name));
      if (segment.start !== start) {
        throw corrupt(`${name}/segment${i} starts at extent ${segment.start}, but the ones before end at ${start}`);
      }
      start += segment.count;
      segments.push(segment);
    }
    return { segments, problem: total === 0 ? `${name} has no segments` : null };
  } catch (error) {
    if (error instanceof StorageError && error.code === "corrupt") return { segments, problem: error.message };
    throw error;
  }
}
