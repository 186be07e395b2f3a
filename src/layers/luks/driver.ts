import type { LayerDriver } from "../../core/layer.ts";
import { probeLuks } from "./probe.ts";

/** LUKS1 and LUKS2. With `context.detachedHeader` the member holds the payload only. */
export const luksDriver: LayerDriver = {
  name: "luks",
  probe: probeLuks,
  // Loaded only here: most disks have none.
  open: async (members, context) => (await import("./layer.ts")).openLuks(members, context),
};
