import type { LayerDriver } from "../../core/layer.ts";
import { SIGNATURE } from "./signature.ts";

/** Hyper-V's disk images (MS-VHDX), fixed and dynamic: read only. The log of one that was not closed is replayed in memory. */
export const vhdxDriver: LayerDriver = {
  name: "vhdx",
  async probe(window) {
    const start = await window.read(0, SIGNATURE.length);
    return Buffer.from(start).toString("latin1") === SIGNATURE ? { setId: null, role: null, member: null } : null;
  },
  // Loaded only here: few guests have one.
  open: async (members, context) => (await import("./image.ts")).openVhdx(members, context),
};
