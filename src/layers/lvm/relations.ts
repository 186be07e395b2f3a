import type { LogicalVolume, VolumeGroup } from "./model.ts";
import type { LvSegment } from "./segments.ts";

/** A classic snapshot: LVM writes it as an LV of its own (`snapshot0`) that only links an origin with a store. */
export interface SnapshotLink {
  readonly origin: string;
  readonly store: string;
  /** Extents of the snapshot as it is seen: those of its origin when it was made. */
  readonly extents: number;
  readonly visible: boolean;
  /** What the store has is on its way back into the origin. */
  readonly merging: boolean;
}

/** Which LVs stand in what relation to each other. */
export interface Relations {
  /** Names of the LVs that are links only. */
  readonly links: ReadonlySet<string>;
  readonly byStore: ReadonlyMap<string, SnapshotLink>;
  readonly byOrigin: ReadonlyMap<string, readonly SnapshotLink[]>;
  readonly externalOrigins: ReadonlySet<string>;
  /** Origin of a thin snapshot that is to replace it → that snapshot. */
  readonly thinMerges: ReadonlyMap<string, string>;
  /** LV that is a part of others (an image, a pool's data) → those others, which should be one. */
  readonly owners: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Classic snapshots (lib/snapshot/snapshot.c), thin ones (lib/thin/thin.c), and what is a part of what. */
export function findRelations(vg: VolumeGroup): Relations {
  const links = new Set<string>();
  const byStore = new Map<string, SnapshotLink>();
  const byOrigin = new Map<string, SnapshotLink[]>();
  const externalOrigins = new Set<string>();
  const thinMerges = new Map<string, string>();
  const owners = new Map<string, Set<string>>();
  for (const lv of vg.lvs.values()) {
    for (const segment of lv.segments) {
      for (const part of partsOf(segment)) {
        if (!vg.lvs.has(part)) continue;
        owners.set(part, (owners.get(part) ?? new Set()).add(lv.name));
      }
      if (segment.kind === "thin" && segment.externalOrigin) externalOrigins.add(segment.externalOrigin);
      if (segment.kind === "thin" && segment.merge) thinMerges.set(segment.merge, lv.name);
      if (segment.kind !== "snapshot") continue;
      const { origin, store, merging, count: extents } = segment;
      if (store === lv.name || !vg.lvs.has(store)) continue;
      if (lv.segments.length === 1) links.add(lv.name);
      const link = { origin, store, extents, visible: isVisible(lv), merging };
      byStore.set(store, link);
      byOrigin.set(origin, [...(byOrigin.get(origin) ?? []), link]);
    }
  }
  return { links, byStore, byOrigin, externalOrigins, thinMerges, owners };
}

export function isVisible(lv: LogicalVolume): boolean {
  return lv.status.includes("VISIBLE");
}

/** LVs that nothing but this segment may use. */
function partsOf(s: LvSegment): readonly string[] {
  switch (s.kind) {
    case "mirror":
      return [...s.areas.map((a) => a.name), ...(s.log ? [s.log] : [])];
    case "raid":
      return s.areas.flatMap((a) => (a.meta ? [a.meta, a.image] : [a.image]));
    case "thin-pool":
    case "cache-pool":
      return [s.metadata, s.data];
    case "cache":
      return [s.origin, s.pool];
    case "writecache":
      return [s.origin, s.cache];
    default:
      return [];
  }
}
