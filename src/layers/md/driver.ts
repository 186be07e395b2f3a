import type { LayerDriver, ProbeHit, ProbeWindow } from "../../core/layer.ts";
import { memberInfo, readMember } from "./member.ts";

const LAYER = "md";

/** Linux software RAID (md(4); Linux, drivers/md; mdadm). `setId` is `md:<array UUID>`, `role` the member's UUID or number. */
export const mdDriver: LayerDriver = {
  name: "md",
  probe,
  // Loaded only here: few guests have one.
  open: async (members, context) => (await import("./array.ts")).openMd(members, context),
};

async function probe(window: ProbeWindow): Promise<ProbeHit | null> {
  const result = await readMember((offset, length) => window.read(offset, length), window.size);
  if (result.kind === "absent") return null;
  if (result.kind === "damaged") {
    const { reason, offset, version } = result;
    const finding = {
      severity: "error",
      code: "md-superblock-damaged",
      message: reason,
      layer: LAYER,
      offset,
    } as const;
    const details = { type: "linux_raid_member", version, size: window.size };
    return { setId: null, role: "damaged", member: { kind: "md-member", details, findings: [finding] } };
  }
  const { superblock } = result;
  return {
    setId: `md:${superblock.uuid}`,
    role: superblock.deviceUuid ?? `number ${superblock.deviceNumber}`,
    member: memberInfo(superblock, []),
  };
}
