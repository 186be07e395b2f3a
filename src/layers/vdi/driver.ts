import { view } from "../../bytes/struct.ts";
import type { LayerDriver } from "../../core/layer.ts";
import { SIGNATURE_AT, VDI_SIGNATURE } from "./header.ts";

/** VirtualBox's disk images, version 1.1, dynamic and fixed: read only. The format is described by VirtualBox's VDICore.h. */
export const vdiDriver: LayerDriver = {
  name: "vdi",
  async probe(window) {
    const bytes = await window.read(SIGNATURE_AT, 4);
    const hit = bytes.length === 4 && view(bytes).getUint32(0, true) === VDI_SIGNATURE;
    return hit ? { setId: null, role: null, member: null } : null;
  },
  // Loaded only here: few guests have one.
  open: async (members, context) => (await import("./image.ts")).openVdi(members, context),
};
