import type { BlockDevice } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Finding } from "../../core/finding.ts";
import type { Layer, LayerChild, LayerDriver, OpenContext, ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { deviceOf, type Group, loadGroup } from "./group.ts";
import { damagedText, type Member, memberInfo, type Reader, readMember, readText } from "./member.ts";
import type { TextLocation } from "./metadata-area.ts";
import { isStriped, type LvSegment, type PhysicalVolume, type VolumeGroup, vgMembersOf } from "./model.ts";
import { type LvPlan, planVolumes } from "./plan.ts";
import { type Identity, parseIdentity } from "./text.ts";
import { openVolume } from "./volume.ts";

const LAYER = "lvm";
/** A probe verifies texts up to this size; of a larger one it reads the beginning, and open() verifies it. */
const PROBE_TEXT_BYTES = 256 * 1024;
const PROBE_HEAD_BYTES = 4096;

/** LVM2 volume groups, found and put together by UUIDs (lvm2 source, lib/format_text and lib/metadata). */
export const lvmDriver: LayerDriver = { name: "lvm", probe, open };

/**
 * `setId` is `lvm:<VG UUID>`, or `lvm-orphan:<PV UUID>` for a PV that has no metadata of its own: no VG, or one that only other PVs
 * describe (see missingRoles). `role` is the PV's UUID.
 */
async function probe(window: ProbeWindow): Promise<ProbeHit | null> {
  const read: Reader = (offset, length) => window.read(offset, length);
  const result = await readMember(read);
  if (result.kind === "absent") return null;
  if (result.kind === "damaged") {
    const finding = { severity: "error", code: "lvm-label-damaged", message: result.reason, layer: LAYER } as const;
    const findings = [{ ...finding, offset: result.offset }];
    return { setId: null, role: null, member: { kind: "lvm-pv", details: { size: window.size }, findings } };
  }
  const { member } = result;
  const findings = [...member.findings];
  let newest: Identity | null = null;
  for (const location of member.texts) {
    const head = location.size <= PROBE_TEXT_BYTES ? await readText(read, location) : await readHead(read, location);
    const identity = head === null ? null : parseIdentity(head);
    if (!identity) findings.push(damagedText(member.pv.uuid, location));
    else if (!newest || identity.seqno > newest.seqno) newest = identity;
  }
  return {
    setId: newest ? `lvm:${newest.id}` : `lvm-orphan:${member.pv.uuid}`,
    role: member.pv.uuid,
    member: memberInfo(member, newest, findings),
  };
}

async function readHead(read: Reader, location: TextLocation): Promise<string> {
  const parts: Uint8Array[] = [];
  let left = PROBE_HEAD_BYTES;
  for (const run of location.runs) {
    const length = Math.min(left, run.size);
    parts.push(await read(run.offset, length));
    left -= length;
  }
  return Buffer.concat(parts).toString("utf8");
}

/**
 * UUIDs of the PVs that the group of `members` names and that are not among them. A PV whose set is `lvm-orphan:<one of these>` belongs to
 * the group: it has no metadata areas, or they are ignored.
 */
export async function missingRoles(members: readonly BlockDevice[], context: OpenContext): Promise<string[]> {
  const group = await loadGroup(members, context);
  if (!group.vg) return [];
  const there = new Set(group.members.map((m) => m.pv.uuid));
  return vgMembersOf(group.vg).filter((uuid) => !there.has(uuid));
}

async function open(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const group = await loadGroup(members, context);
  const { vg } = group;
  if (!vg) return orphan(group);
  const plans = planVolumes(vg, (pv) => deviceOf(group, pv));
  const writable = context.writable && !group.conflict;
  return {
    info: { kind: "lvm-vg", details: groupDetails(group, vg), findings: group.findings },
    locked: null,
    children: plans.map((plan) => volume(group, vg, plan, writable)),
    async [Symbol.asyncDispose]() {},
  };
}

/** A PV without metadata: nothing to open. One that is in use needs the other PVs of its group. */
function orphan(group: Group): Layer {
  const member: Member = group.members[0]!;
  const elsewhere = member.pv.used === true || member.ignoredAreas > 0;
  const reason = "only other physical volumes describe its volume group, and they are not here";
  return {
    info: memberInfo(member, null, group.findings),
    locked: elsewhere ? { code: "unsupported", reason } : null,
    children: [],
    async [Symbol.asyncDispose]() {},
  };
}

function groupDetails(group: Group, vg: VolumeGroup) {
  return {
    name: vg.name,
    uuid: vg.uuid,
    seqno: vg.seqno,
    extentSize: vg.extentSize,
    pvs: [...vg.pvs.values()].map((pv) => ({
      name: pv.name,
      uuid: pv.uuid,
      missing: typeof deviceOf(group, pv) === "string",
      devSize: pv.devSize,
      peStart: pv.peStart,
      peCount: pv.peCount,
    })),
    status: vg.status,
    flags: vg.flags,
    tags: vg.tags,
    format: vg.format,
    systemId: vg.systemId,
    lockType: vg.lockType,
    creationTime: vg.creationTime,
    creationHost: vg.creationHost,
    description: vg.description,
  };
}

function volume(group: Group, vg: VolumeGroup, plan: LvPlan, writable: boolean): LayerChild {
  const { lv, refusal } = plan;
  return {
    name: lv.name,
    info: {
      kind: "lvm-lv",
      details: {
        uuid: lv.uuid,
        vg: vg.name,
        vgUuid: vg.uuid,
        layout: plan.layout,
        role: plan.role,
        segments: lv.segments.map((s) => segmentDetails(s)),
        status: lv.status,
        flags: lv.flags,
        tags: lv.tags,
        creationTime: lv.creationTime,
        creationHost: lv.creationHost,
        readOnly: plan.readOnly,
      },
      findings: refusal?.code === "corrupt" ? [corruptVolume(lv.name, refusal.reason)] : [],
    },
    offset: contiguousOffset(group, vg, plan),
    size: plan.extents * vg.extentSize,
    unavailable: refusal?.reason ?? null,
    hasContent: plan.role !== "internal" && plan.role !== "pool",
    async open() {
      if (refusal) {
        const { code, reason, feature } = refusal;
        throw new StorageError(code, `${vg.name}/${lv.name}: ${reason}`, { layer: LAYER, feature });
      }
      return openVolume(vg, lv, devicesByName(group, vg), writable && plan.readOnly === null);
    },
  };
}

function corruptVolume(name: string, reason: string): Finding {
  return { severity: "error", code: "lvm-lv-corrupt", message: `${name}: ${reason}`, layer: LAYER };
}

function segmentDetails(s: LvSegment) {
  return {
    type: isStriped(s.type) && s.areas.length === 1 ? "linear" : s.type,
    startExtent: s.start,
    extents: s.count,
    stripeSize: s.stripeSize,
    areas: s.areas.map((a) => ({ name: a.name, extent: a.extent })),
  };
}

/** Byte offset on the one PV of the group, when the LV is a single linear run there. */
function contiguousOffset(group: Group, vg: VolumeGroup, plan: LvPlan): number | null {
  const [segment] = plan.lv.segments;
  if (plan.refusal || vg.pvs.size !== 1 || group.members.length !== 1 || plan.lv.segments.length !== 1) return null;
  const pv: PhysicalVolume | undefined = vg.pvs.get(segment!.areas[0]?.name ?? "");
  return pv && segment!.areas.length === 1 ? pv.peStart + segment!.areas[0]!.extent * vg.extentSize : null;
}

function devicesByName(group: Group, vg: VolumeGroup): Map<string, BlockDevice> {
  const out = new Map<string, BlockDevice>();
  for (const pv of vg.pvs.values()) {
    const device = deviceOf(group, pv);
    if (typeof device !== "string") out.set(pv.name, device);
  }
  return out;
}
