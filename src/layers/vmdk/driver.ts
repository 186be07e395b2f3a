import type { LayerDriver } from "../../core/layer.ts";
import { DESCRIPTOR_START, kindOf } from "./kind.ts";

/**
 * VMware's disk images (Virtual Disk Format 5.0): one sparse file, also stream-optimised, or a descriptor with extents in other files: read
 * only.
 */
export const vmdkDriver: LayerDriver = {
  name: "vmdk",
  async probe(window) {
    return kindOf(await window.read(0, DESCRIPTOR_START)) === null ? null : { setId: null, role: null, member: null };
  },
  // Loaded only here: few guests have one.
  open: async (members, context) => (await import("./image.ts")).openVmdk(members, context),
};
