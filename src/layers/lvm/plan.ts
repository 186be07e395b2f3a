import { Checker, type PvState, type Refusal } from "./checker.ts";
import type { LogicalVolume, VolumeGroup } from "./model.ts";
import { isVisible, type Relations } from "./relations.ts";
import { segmentName } from "./segments.ts";

export type Role = "public" | "internal" | "origin" | "snapshot" | "pool";

/** What can be done with one LV, as far as the metadata text says. */
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

/** Decides for every LV of the group; snapshot LVs themselves (`snapshot0`) are folded into the LV that shows them. */
export function planVolumes(vg: VolumeGroup, relations: Relations, stateOf: PvState): LvPlan[] {
  const check = new Checker(vg, stateOf, relations);
  const plans: LvPlan[] = [];
  for (const lv of vg.lvs.values()) {
    if (relations.links.has(lv.name)) continue;
    const link = relations.byStore.get(lv.name);
    const role = roleOf(lv, relations);
    const refusal = check.refusal(lv.name);
    plans.push({
      lv,
      role,
      extents: link ? link.extents : lv.extents,
      layout: link ? "snapshot" : layoutOf(lv),
      refusal,
      readOnly: refusal ? null : readOnlyReason(vg, lv, role, relations),
    });
  }
  return plans;
}

function roleOf(lv: LogicalVolume, relations: Relations): Role {
  const link = relations.byStore.get(lv.name);
  // A snapshot that is merged back is hidden; its origin is what is left to see.
  if (link) return link.visible && !link.merging ? "snapshot" : "internal";
  if (!isVisible(lv)) return "internal";
  if (relations.byOrigin.has(lv.name)) return "origin";
  return lv.segments.some((s) => /^(thin|cache|vdo)-pool/.test(s.type)) ? "pool" : "public";
}

function readOnlyReason(vg: VolumeGroup, lv: LogicalVolume, role: Role, relations: Relations): string | null {
  const { name, status, segments } = lv;
  if (role === "internal") return "it is an internal volume of LVM";
  if (role === "origin") return "it is the origin of a snapshot: writing to it here would change the snapshot too";
  if (role === "snapshot") return "writing to a classic snapshot is not supported";
  if (role === "pool") return "it is a pool, which only others may write to";
  if (relations.externalOrigins.has(name)) return "it is the external origin of a thin volume";
  if (relations.owners.has(name)) return `it is a part of ${[...relations.owners.get(name)!][0]}`;
  if (relations.thinMerges.has(name)) return `${relations.thinMerges.get(name)} is to replace it`;
  if (segments.some((s) => s.kind === "thin" && s.merge !== null)) return "it is to replace its origin";
  if (!vg.status.includes("WRITE")) return "the volume group's metadata does not permit writing";
  if (!status.includes("WRITE")) return "its metadata does not permit writing (lvchange -pr)";
  if (status.includes("LOCKED")) return "LVM has locked it (pvmove)";
  for (const s of segments) {
    if (s.kind === "zero" || s.kind === "error") return "a part of it is not stored anywhere";
    if (s.kind === "mirror") return "writing to mirrors of the old kind is not supported";
    if (s.kind === "cache" || s.kind === "writecache") return `writing through a ${s.kind} is not supported`;
    if (s.kind === "striped" && s.areas.some((a) => !vg.pvs.has(a.name))) return "it lies on another logical volume";
  }
  return null;
}

/** `linear`, `striped` or what the segments are, as `lvs -o lv_layout` names the plain ones. */
function layoutOf(lv: LogicalVolume): string {
  return [...new Set(lv.segments.map(segmentName))].join(",") || "none";
}
