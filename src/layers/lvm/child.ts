import { checked } from "../../core/checked.ts";
import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { LayerChild } from "../../core/layer.ts";
import { fromMapping } from "../../core/mapping.ts";
import { LAYER } from "./fields.ts";
import type { Group } from "./group.ts";
import type { VolumeGroup } from "./model.ts";
import type { LvPlan } from "./plan.ts";
import { type LvSegment, segmentName } from "./segments.ts";
import type { Built } from "./targets.ts";
import type { Volumes } from "./volumes.ts";

/** A pool is looked at, but is no device. */
type Opened = Omit<Built, "device"> & { readonly device: BlockDevice | null };

/**
 * An LV as the tree shows it. Volumes with metadata of their own on the disks (snapshots, pools, RAID) are opened at once: what is wrong
 * with them belongs into the tree.
 */
export async function volumeChild(
  group: Group,
  vg: VolumeGroup,
  plan: LvPlan,
  volumes: Volumes,
  writable: boolean,
): Promise<LayerChild> {
  const { lv, refusal, role } = plan;
  const hasContent = role !== "internal" && role !== "pool";
  const opened = refusal === null && role !== "internal" ? await tryOpen(volumes, plan) : null;
  const failure = opened instanceof StorageError ? opened : null;
  const built = opened instanceof StorageError ? null : opened;
  const readOnly = failure ? null : (plan.readOnly ?? built?.readOnly ?? null);
  const hint = failure?.hint === undefined ? "" : `; ${failure.hint}`;
  const unavailable = refusal?.reason ?? (failure ? `${failure.message}${hint}` : null);
  const findings: Finding[] = [...(built?.findings ?? [])];
  if ((refusal ?? failure)?.code === "corrupt") findings.push(corruptVolume(lv.name, unavailable!));
  return {
    name: lv.name,
    info: {
      kind: "lvm-lv",
      details: {
        uuid: lv.uuid,
        vg: vg.name,
        vgUuid: vg.uuid,
        layout: plan.layout,
        role,
        segments: lv.segments.map((s) => segmentDetails(s)),
        status: lv.status,
        flags: lv.flags,
        tags: lv.tags,
        creationTime: lv.creationTime,
        creationHost: lv.creationHost,
        readOnly,
      },
      findings,
    },
    offset: contiguousOffset(group, vg, plan),
    size: plan.extents * vg.extentSize,
    unavailable,
    hasContent,
    async open() {
      if (refusal) {
        const { code, reason, feature } = refusal;
        throw new StorageError(code, `${vg.name}/${lv.name}: ${reason}`, { layer: LAYER, feature });
      }
      if (failure) throw failure;
      const { device } = built ?? (await volumes.volume(lv.name));
      if (!device) throw new StorageError("usage", `${vg.name}/${lv.name} is a pool, no volume`, { layer: LAYER });
      return view(device, plan.extents * vg.extentSize, writable && readOnly === null);
    },
  };
}

async function tryOpen(volumes: Volumes, { lv, role }: LvPlan): Promise<Opened | StorageError> {
  try {
    if (role !== "pool") return await volumes.volume(lv.name);
    if (lv.segments[0]?.kind !== "thin-pool") return { device: null, findings: [], readOnly: null };
    const { findings, readOnly } = await volumes.pool(lv.name);
    return { device: null, findings, readOnly };
  } catch (error) {
    if (!(error instanceof StorageError) || error.code === "cancelled") throw error;
    return error;
  }
}

/** A device of its own for one caller: closing it leaves the volume open, and it is writable only where that is permitted. */
function view(device: BlockDevice, size: number, writable: boolean): BlockDevice {
  return checked(
    fromMapping({
      size,
      caps: { ...device.caps, alignment: 1, writable: writable && device.caps.writable },
      layer: LAYER,
      map: () => [{ offset: 0, length: size, kind: "data", device, at: 0 }],
      below: [device],
    }),
    LAYER,
  );
}

function corruptVolume(name: string, reason: string): Finding {
  return { severity: "error", code: "lvm-lv-corrupt", message: `${name}: ${reason}`, layer: LAYER };
}

function segmentDetails(s: LvSegment) {
  return {
    type: segmentName(s),
    startExtent: s.start,
    extents: s.count,
    stripeSize: s.kind === "striped" || s.kind === "raid" ? s.stripeSize : 0,
    areas: areasOf(s),
  };
}

/** What the segment is made of: PVs with their first extent, LVs from their beginning. */
function areasOf(s: LvSegment): { readonly name: string; readonly extent: number }[] {
  const whole = (...names: readonly string[]) => names.map((name) => ({ name, extent: 0 }));
  switch (s.kind) {
    case "striped":
    case "mirror":
      return s.areas.map((a) => ({ name: a.name, extent: a.extent }));
    case "raid":
      return whole(...s.areas.map((a) => a.image));
    case "thin-pool":
    case "cache-pool":
      return whole(s.data, s.metadata);
    case "thin":
      return whole(s.pool);
    case "cache":
      return whole(s.origin, s.pool);
    case "writecache":
      return whole(s.origin, s.cache);
    default:
      return [];
  }
}

/** Byte offset on the one PV of the group, when the LV is a single linear run there. */
function contiguousOffset(group: Group, vg: VolumeGroup, plan: LvPlan): number | null {
  const [segment] = plan.lv.segments;
  if (plan.refusal || plan.layout !== "linear" || plan.lv.segments.length !== 1) return null;
  if (vg.pvs.size !== 1 || group.members.length !== 1 || segment?.kind !== "striped") return null;
  const area = segment.areas[0]!;
  const pv = vg.pvs.get(area.name);
  return pv ? pv.peStart + area.extent * vg.extentSize : null;
}
