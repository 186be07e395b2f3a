import type { LayerDriver } from "../../core/layer.ts";
import { FIXED, FOOTER_BYTES, hasCookie, parseFooter } from "./footer.ts";

/**
 * Virtual PC's and Hyper-V's disk images (Virtual Hard Disk Image Format Specification 1.0), fixed and dynamic: read only. A fixed one has
 * nothing but a footer; it is recognised by that only when its checksum is right, and otherwise is raw, which reads the same.
 */
export const vhdDriver: LayerDriver = {
  name: "vhd",
  async probe(window) {
    const hit = { setId: null, role: null, member: null };
    if (hasCookie(await window.read(0, 8))) return hit;
    if (window.size < 2 * FOOTER_BYTES || window.size % FOOTER_BYTES !== 0) return null;
    const at = window.size - FOOTER_BYTES;
    const bytes = await window.read(at, FOOTER_BYTES);
    if (!hasCookie(bytes)) return null;
    const footer = parseFooter(bytes, at);
    return footer?.type === FIXED && footer.size <= at ? hit : null;
  },
  // Loaded only here: few guests have one.
  open: async (members, context) => (await import("./image.ts")).openVhd(members, context),
};
