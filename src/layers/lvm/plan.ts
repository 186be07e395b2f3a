import { isStriped, type LogicalVolume, type LvSegment, type PhysicalVolume, type VolumeGroup } from "./model.ts";

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
]);

export interface Refusal {
  readonly code: "unsupported" | "corrupt" | "io";
  readonly reason: string;
  readonly feature?: string;
}

export type Role = "public" | "internal" | "origin" | "snapshot" | "pool";

/** What can be done with one LV. */
export interface LvPlan {
  readonly lv: LogicalVolume;
  readonly role: Role;
  /** Extents as the guest sees them; for a snapshot those of its origin, not of its copy-on-write store. */
  readonly extents: number;
  readonly layout: string;
  /** Why it cannot be opened, or null. */
  readonly refusal: Refusal | null;
  /** Why it is opened for reading only, or null. */
  readonly readOnly: string | null;
}

/** Whether a PV's bytes can be had: null, or why not. */
export type PvState = (pv: PhysicalVolume) => { readonly size: number } | string;

/** Decides for every LV of the group; snapshot LVs themselves (`snapshot0`) are folded into the LV that shows them. */
export function planVolumes(vg: VolumeGroup, stateOf: PvState): LvPlan[] {
  const snapshots = findSnapshots(vg);
  const shared = findSharedExtents(vg);
  const check = new Checker(vg, stateOf, shared);
  const plans: LvPlan[] = [];
  for (const lv of vg.lvs.values()) {
    if (snapshots.links.has(lv.name)) continue;
    const link = snapshots.byStore.get(lv.name);
    const visible = link ? link.visible : lv.status.includes("VISIBLE");
    const isOrigin = snapshots.origins.has(lv.name);
    const role: Role = link ? "snapshot" : !visible ? "internal" : isOrigin ? "origin" : isPool(lv) ? "pool" : "public";
    const refusal = link ? unsupported("snapshot") : (snapshots.merging.get(lv.name) ?? check.refusal(lv.name));
    plans.push({
      lv,
      role,
      extents: link ? link.extents : lv.extents,
      layout: link ? "snapshot" : layoutOf(lv),
      refusal,
      readOnly: refusal ? null : readOnlyReason(vg, lv, role, snapshots.externalOrigins.has(lv.name)),
    });
  }
  return plans;
}

/** Thin, cache and VDO pools hold others' blocks; they are listed, but are no volumes themselves. */
function isPool(lv: LogicalVolume): boolean {
  return lv.segments.some((s) => /^(thin|cache|vdo)-pool/.test(s.type));
}

function unsupported(type: string): Refusal {
  return { code: "unsupported", reason: `segment type ${type} is not supported yet`, feature: type };
}

interface Snapshots {
  /** Names of the LVs that only link an origin with a store. */
  readonly links: ReadonlySet<string>;
  readonly byStore: ReadonlyMap<string, { readonly extents: number; readonly visible: boolean }>;
  readonly origins: ReadonlySet<string>;
  readonly merging: ReadonlyMap<string, Refusal>;
  readonly externalOrigins: ReadonlySet<string>;
}

/** Classic snapshots (lib/snapshot/snapshot.c) and external origins of thin LVs (lib/thin/thin.c). */
function findSnapshots(vg: VolumeGroup): Snapshots {
  const links = new Set<string>();
  const byStore = new Map<string, { extents: number; visible: boolean }>();
  const origins = new Set<string>();
  const merging = new Map<string, Refusal>();
  const externalOrigins = new Set<string>();
  for (const lv of vg.lvs.values()) {
    for (const segment of lv.segments) {
      if (segment.externalOrigin) externalOrigins.add(segment.externalOrigin);
      if (segment.type !== "snapshot") continue;
      const store = segment.cowStore ?? segment.mergingStore;
      if (!segment.origin || !store || store === lv.name || !vg.lvs.has(store)) continue;
      if (lv.segments.length === 1) links.add(lv.name);
      byStore.set(store, { extents: segment.count, visible: lv.status.includes("VISIBLE") });
      origins.add(segment.origin);
      if (segment.mergingStore) {
        merging.set(segment.origin, {
          code: "unsupported",
          reason: `snapshot ${segment.mergingStore} is being merged into it`,
          feature: "snapshot-merge",
        });
      }
    }
  }
  return { links, byStore, origins, merging, externalOrigins };
}

function readOnlyReason(vg: VolumeGroup, lv: LogicalVolume, role: Role, externalOrigin: boolean): string | null {
  if (role === "internal") return "it is an internal volume of LVM";
  if (role === "origin") return "it is the origin of a snapshot: writing to it here would change the snapshot too";
  if (externalOrigin) return "it is the external origin of a thin volume";
  if (!vg.status.includes("WRITE")) return "the volume group's metadata does not permit writing";
  if (!lv.status.includes("WRITE")) return "its metadata does not permit writing (lvchange -pr)";
  if (lv.status.includes("LOCKED")) return "LVM has locked it (pvmove)";
  if (lv.segments.some((s) => s.areas.some((a) => !vg.pvs.has(a.name)))) return "it lies on another logical volume";
  if (lv.segments.some((s) => s.type === "zero")) return "a part of it is not stored anywhere";
  return null;
}

/** `linear`, `striped` or what the segments are, as `lvs -o lv_layout` names the plain ones. */
function layoutOf(lv: LogicalVolume): string {
  const names = new Set(
    lv.segments.map((s) => (isStriped(s.type) ? (s.areas.length > 1 ? "striped" : "linear") : s.type)),
  );
  return [...names].join(",") || "none";
}

/** Pairs of LVs that claim the same physical extents: no program may write there, and what is read is one's or the other's. */
function findSharedExtents(vg: VolumeGroup): Map<string, string> {
  const claims = new Map<string, { from: number; to: number; lv: string }[]>();
  for (const lv of vg.lvs.values()) {
    for (const segment of lv.segments) {
      const each = segment.count / Math.max(1, segment.areas.length);
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

class Checker {
  readonly #vg: VolumeGroup;
  readonly #stateOf: PvState;
  readonly #shared: ReadonlyMap<string, string>;
  readonly #done = new Map<string, Refusal | null>();
  readonly #open = new Set<string>();

  constructor(vg: VolumeGroup, stateOf: PvState, shared: ReadonlyMap<string, string>) {
    this.#vg = vg;
    this.#stateOf = stateOf;
    this.#shared = shared;
  }

  /** Why an LV cannot be opened, or null. */
  refusal(name: string): Refusal | null {
    const known = this.#done.get(name);
    if (known !== undefined) return known;
    if (this.#open.has(name)) return { code: "corrupt", reason: `${name} is made of itself` };
    if (this.#open.size >= MAX_STACKING)
      return { code: "corrupt", reason: `volumes are stacked more than ${MAX_STACKING} deep` };
    this.#open.add(name);
    const refusal = this.#check(this.#vg.lvs.get(name)!);
    this.#open.delete(name);
    this.#done.set(name, refusal);
    return refusal;
  }

  #check(lv: LogicalVolume): Refusal | null {
    const strange = lv.segments.find((s) => !isStriped(s.type) && s.type !== "zero");
    if (strange) return unsupported(strange.type);
    if (lv.problem) return { code: "corrupt", reason: lv.problem };
    const flag = lv.status.find((s) => !KNOWN_STATUS.has(s));
    if (flag !== undefined) return { code: "unsupported", reason: `status flag ${flag} is not known`, feature: flag };
    const other = this.#shared.get(lv.name);
    if (other !== undefined) {
      const whom = other === lv.name ? "itself" : other;
      return { code: "corrupt", reason: `it shares physical extents with ${whom}` };
    }
    for (const segment of lv.segments) {
      const refusal = this.#segment(segment);
      if (refusal) return refusal;
    }
    return null;
  }

  #segment(segment: LvSegment): Refusal | null {
    const corrupt = (reason: string): Refusal => ({ code: "corrupt", reason });
    if (segment.type === "zero") return null;
    const each = segment.count / segment.areas.length;
    if (segment.stripeSize > 0 && (each * this.#vg.extentSize) % segment.stripeSize !== 0) {
      return corrupt(`stripes of ${segment.stripeSize} bytes do not fill the segment at extent ${segment.start}`);
    }
    for (const { name, extent } of segment.areas) {
      const pv = this.#vg.pvs.get(name);
      const lv = this.#vg.lvs.get(name);
      if (pv) {
        if (extent + each > pv.peCount) return corrupt(`it reaches beyond the last extent of ${name}`);
        const state = this.#stateOf(pv);
        if (typeof state === "string") return { code: "io", reason: state };
        if (pv.peStart + (extent + each) * this.#vg.extentSize > state.size) {
          return { code: "io", reason: `it reaches beyond the end of physical volume ${pv.uuid} (${name})` };
        }
      } else if (lv) {
        const refusal = this.refusal(name);
        if (refusal) return { ...refusal, reason: `${name}: ${refusal.reason}` };
        if (extent + each > lv.extents) return corrupt(`it reaches beyond the end of ${name}`);
      } else {
        return corrupt(`${name} is neither a physical nor a logical volume of the group`);
      }
    }
    return null;
  }
}
