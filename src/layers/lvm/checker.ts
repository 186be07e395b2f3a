import type { LogicalVolume, PhysicalVolume, VolumeGroup } from "./model.ts";
import type { Relations } from "./relations.ts";
import type { LvSegment, StripeArea } from "./segments.ts";

/** LVs in LVs: no layout of LVM's own is deeper than a handful; it also bounds the recursion on hostile metadata. */
const MAX_STACKING = 16;
/** Status flags under which an LV's bytes are what its segments say (lib/format_text/flags.c); LVM refuses unknown ones too. */
const KNOWN_STATUS: ReadonlySet<string> = new Set([
  "READ",
  "WRITE",
  "WRITE_LOCKED",
  "FIXED_MINOR",
  "VISIBLE",
  "PVMOVE",
  "LOCKED",
  "NOTSYNCED",
  "NOSCAN",
  "TEMPORARY",
  "REBUILD",
  "WRITEMOSTLY",
]);

/** All other types describe a whole volume. */
const MAY_BE_ONE_OF_SEVERAL: ReadonlySet<string> = new Set(["striped", "zero", "error"]);

export interface Refusal {
  readonly code: "unsupported" | "corrupt" | "io";
  readonly reason: string;
  readonly feature?: string;
}

/** Whether a PV's bytes can be had: its size, or why not. */
export type PvState = (pv: PhysicalVolume) => { readonly size: number } | string;

const corrupt = (reason: string): Refusal => ({ code: "corrupt", reason });

/**
 * Decides from the metadata text alone whether an LV can be opened: all that it names is there, nothing is made of itself, no extents are
 * claimed twice. Missing devices are forgiven where the layout has copies or parity; whether they suffice is seen when it is opened.
 */
export class Checker {
  readonly #vg: VolumeGroup;
  readonly #stateOf: PvState;
  readonly #relations: Relations;
  readonly #shared: ReadonlyMap<string, string>;
  readonly #done = new Map<string, Refusal | null>();
  readonly #open = new Set<string>();

  constructor(vg: VolumeGroup, stateOf: PvState, relations: Relations) {
    this.#vg = vg;
    this.#stateOf = stateOf;
    this.#relations = relations;
    this.#shared = findSharedExtents(vg);
  }

  /** Why the LV, as LVM would show it, cannot be opened; or null. A snapshot needs its origin, an origin that is merged into its store. */
  refusal(name: string): Refusal | null {
    const link = this.#relations.byStore.get(name);
    if (link) return this.content(link.origin) ?? this.content(name);
    const merging = this.#relations.byOrigin.get(name)?.filter((l) => l.merging) ?? [];
    if (merging.length > 1) return corrupt(`${merging.map((l) => l.store).join(" and ")} are both merged into it`);
    if (merging[0]) {
      const refusal = this.content(merging[0].store);
      if (refusal) return { ...refusal, reason: `${merging[0].store}, which is merged into it: ${refusal.reason}` };
    }
    const replacement = this.#relations.thinMerges.get(name);
    return this.content(name) ?? (replacement === undefined ? null : this.content(replacement));
  }

  /** Why what the LV's own segments say cannot be read, or null. */
  content(name: string): Refusal | null {
    const known = this.#done.get(name);
    if (known !== undefined) return known;
    const lv = this.#vg.lvs.get(name);
    if (!lv) return corrupt(`${name} is no logical volume of the group`);
    if (this.#open.has(name)) return corrupt(`${name} is made of itself`);
    if (this.#open.size >= MAX_STACKING) return corrupt(`volumes are stacked more than ${MAX_STACKING} deep`);
    this.#open.add(name);
    const refusal = this.#check(lv);
    this.#open.delete(name);
    this.#done.set(name, refusal);
    return refusal;
  }

  #check(lv: LogicalVolume): Refusal | null {
    const strange = lv.segments.find((s) => s.kind === "other" || s.kind === "snapshot");
    if (strange) {
      const feature = [strange.type, ...strange.typeFlags].join("+");
      return { code: "unsupported", reason: `segment type ${feature} is not supported`, feature };
    }
    if (lv.problem) return corrupt(lv.problem);
    const flag = lv.status.find((s) => !KNOWN_STATUS.has(s));
    if (flag !== undefined) return { code: "unsupported", reason: `status flag ${flag} is not known`, feature: flag };
    const owners = this.#relations.owners.get(lv.name);
    if (owners && owners.size > 1) return corrupt(`it is a part of ${[...owners].join(" and of ")}`);
    const other = this.#shared.get(lv.name);
    if (other !== undefined) {
      return corrupt(`it shares physical extents with ${other === lv.name ? "itself" : other}`);
    }
    for (const segment of lv.segments) {
      if (lv.segments.length > 1 && !MAY_BE_ONE_OF_SEVERAL.has(segment.kind)) {
        return corrupt(`a segment of type ${segment.type} stands alone in a volume, not among others`);
      }
      const refusal = this.#segment(segment);
      if (refusal) return refusal;
    }
    return null;
  }

  #segment(s: LvSegment): Refusal | null {
    switch (s.kind) {
      case "striped":
        return this.#striped(s, s.count / s.areas.length, s.stripeSize);
      case "mirror":
        return this.#tolerant(s.areas.map((a) => this.#area(a, s.count))) ?? this.#tolerantParts(s.log ? [s.log] : []);
      case "raid":
        if (s.reshaping) return { code: "unsupported", reason: "its layout is being changed", feature: "reshape" };
        return (
          this.#tolerantParts(s.areas.map((a) => a.image)) ??
          this.#tolerantParts(s.areas.flatMap((a) => (a.meta ? [a.meta] : [])))
        );
      case "thin-pool":
      case "cache-pool":
        return this.#parts(s.metadata, s.data);
      case "thin":
        return this.#pool(s.pool, "thin-pool") ?? (s.externalOrigin ? this.#parts(s.externalOrigin) : null);
      case "cache":
        return this.#parts(s.origin, s.pool) ?? (s.volume ? null : this.#pool(s.pool, "cache-pool"));
      case "writecache":
        return this.#parts(s.origin, s.cache);
      default:
        return null;
    }
  }

  #pool(name: string, kind: "thin-pool" | "cache-pool"): Refusal | null {
    if (this.#vg.lvs.get(name)?.segments[0]?.kind !== kind) return corrupt(`${name} is no ${kind} of the group`);
    return this.#parts(name);
  }

  #parts(...names: readonly string[]): Refusal | null {
    for (const name of names) {
      const refusal = this.content(name);
      if (refusal) return { ...refusal, reason: `${name}: ${refusal.reason}` };
    }
    return null;
  }

  /** Parts of which some may be missing: only what no redundancy makes good counts. */
  #tolerantParts(names: readonly string[]): Refusal | null {
    return names.map((name) => this.#parts(name)).find((r) => r && r.code !== "io") ?? null;
  }

  #tolerant(refusals: readonly (Refusal | null)[]): Refusal | null {
    const all = refusals.every((r) => r?.code === "io");
    return refusals.find((r) => r && (all || r.code !== "io")) ?? null;
  }

  #striped(segment: LvSegment & { readonly areas: readonly StripeArea[] }, each: number, stripeSize: number) {
    if (stripeSize > 0 && (each * this.#vg.extentSize) % stripeSize !== 0) {
      return corrupt(`stripes of ${stripeSize} bytes do not fill the segment at extent ${segment.start}`);
    }
    for (const area of segment.areas) {
      const refusal = this.#area(area, each);
      if (refusal) return refusal;
    }
    return null;
  }

  /** `count` extents on a PV or an LV. */
  #area({ name, extent }: StripeArea, count: number): Refusal | null {
    const pv = this.#vg.pvs.get(name);
    if (pv) {
      if (extent + count > pv.peCount) return corrupt(`it reaches beyond the last extent of ${name}`);
      const state = this.#stateOf(pv);
      if (typeof state === "string") return { code: "io", reason: state };
      if (pv.peStart + (extent + count) * this.#vg.extentSize <= state.size) return null;
      return { code: "io", reason: `it reaches beyond the end of physical volume ${pv.uuid} (${name})` };
    }
    const lv = this.#vg.lvs.get(name);
    if (!lv) return corrupt(`${name} is neither a physical nor a logical volume of the group`);
    const refusal = this.#parts(name);
    if (refusal) return refusal;
    return extent + count > lv.extents ? corrupt(`it reaches beyond the end of ${name}`) : null;
  }
}

/** Pairs of LVs that claim the same physical extents: no program may write there, and what is read is one's or the other's. */
function findSharedExtents(vg: VolumeGroup): Map<string, string> {
  const claims = new Map<string, { from: number; to: number; lv: string }[]>();
  for (const lv of vg.lvs.values()) {
    for (const segment of lv.segments) {
      if (segment.kind !== "striped" && segment.kind !== "mirror") continue;
      const each = segment.kind === "mirror" ? segment.count : segment.count / segment.areas.length;
      for (const area of segment.areas) {
        if (!vg.pvs.has(area.name)) continue;
        const list = claims.get(area.name) ?? [];
        list.push({ from: area.extent, to: area.extent + each, lv: lv.name });
        claims.set(area.name, list);
      }
    }
  }
  const shared = new Map<string, string>();
  for (const list of claims.values()) {
    list.sort((a, b) => a.from - b.from);
    let reach = list[0]!;
    for (const claim of list.slice(1)) {
      if (claim.from < reach.to) {
        shared.set(claim.lv, reach.lv);
        shared.set(reach.lv, claim.lv);
      }
      if (claim.to > reach.to) reach = claim;
    }
  }
  return shared;
}
