import type { BlockDevice } from "../../core/device.ts";
import type { Layer, LayerChild, LayerDriver, OpenContext, ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { volumeChild } from "./child.ts";
import { deviceOf, type Group, loadGroup } from "./group.ts";
import { damagedText, type Member, memberInfo, type Reader, readMember, readText } from "./member.ts";
import type { TextLocation } from "./metadata-area.ts";
import { type VolumeGroup, vgMembersOf } from "./model.ts";
import { planVolumes } from "./plan.ts";
import { findRelations } from "./relations.ts";
import { type Identity, parseIdentity } from "./text.ts";
import { Volumes } from "./volumes.ts";

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
  const relations = findRelations(vg);
  const writable = context.writable && !group.conflict;
  const volumes = new Volumes({
    vg,
    relations,
    deviceOf: (pv) => deviceOf(group, pv),
    writable,
    limits: context.limits,
  });
  const children: LayerChild[] = [];
  for (const plan of planVolumes(vg, relations, (pv) => deviceOf(group, pv))) {
    context.signal?.throwIfAborted();
    children.push(await volumeChild(group, vg, plan, volumes, writable));
  }
  return {
    info: { kind: "lvm-vg", details: groupDetails(group, vg), findings: group.findings },
    locked: null,
    children,
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
