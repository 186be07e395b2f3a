import type { BlockDevice } from "../../core/device.ts";
import type { Layer, OpenContext } from "../../core/layer.ts";
import { slice } from "../../core/slice.ts";
import { raidSize } from "../../raid/geometry.ts";
import { openRaid } from "../../raid/open.ts";
import { type Assembly, assemble } from "./assembly.ts";
import { outdateMissing } from "./degraded-write.ts";
import { layoutName, levelName, mdadmUuid } from "./names.ts";
import type { MdSuperblock } from "./superblock.ts";

const LAYER = "md";

/** The array over these members, as far as they allow it. */
export async function openMd(members: readonly BlockDevice[], context: OpenContext): Promise<Layer> {
  const assembly = await assemble(members);
  const { superblock, refusal, geometry } = assembly;
  const size = geometry === null ? 0 : raidSize(geometry, assembly.legSizes);
  return {
    info: { kind: "md", details: arrayDetails(assembly, superblock, size), findings: assembly.findings },
    locked: null,
    children: [
      {
        name: assembly.name,
        info: null,
        offset: null,
        size,
        unavailable: refusal?.message ?? null,
        hasContent: true,
        async open() {
          if (refusal) throw refusal;
          return openArray(assembly, context.writable && assembly.readOnly === null);
        },
      },
    ],
    async [Symbol.asyncDispose]() {},
  };
}

function openArray(assembly: Assembly, writable: boolean): BlockDevice {
  const { legs, legSizes, dirty } = assembly;
  return openRaid({
    layer: LAYER,
    geometry: assembly.geometry!,
    legs: legs.map((leg, role) => {
      if (!leg) return null;
      const device = slice(leg.device, leg.superblock.dataOffset, legSizes[role]!, LAYER);
      return { device, stale: leg.stale ?? undefined };
    }),
    legSizes,
    writable,
    readLast: new Set(legs.flatMap((leg, role) => (leg?.superblock.writeMostly ? [role] : []))),
    trustParity: !dirty,
    beforeFirstWrite: legs.includes(null) ? () => outdateMissing(assembly) : undefined,
  });
}

function arrayDetails(assembly: Assembly, sb: MdSuperblock, size: number) {
  const { legs, dirty, degraded, refusal } = assembly;
  const states = [dirty ? "not in sync" : "clean", ...(degraded ? ["degraded"] : [])];
  return {
    name: assembly.name,
    uuid: sb.uuid,
    mdadmUuid: mdadmUuid(sb.uuid),
    fullName: sb.name,
    version: sb.version,
    level: levelName(sb.level),
    layout: sb.layout === null ? null : layoutName(sb.level, sb.layout),
    chunkSize: sb.level === 1 ? null : sb.chunk,
    size,
    state: refusal && legs.length === 0 ? null : states.join(", "),
    events: Number(sb.events),
    raidDevices: sb.raidDisks,
    devices: legs.map((leg, role) => ({
      role,
      deviceUuid: leg?.superblock.deviceUuid ?? null,
      state: !leg ? "missing" : leg.superblock.recoveredTo !== null ? "rebuilding" : "in sync",
      events: leg ? Number(leg.superblock.events) : null,
      dataOffset: leg?.superblock.dataOffset ?? null,
    })),
    spares: assembly.spares.length,
    bitmap: sb.bitmapAt !== null,
    readOnly: assembly.readOnly,
  };
}
