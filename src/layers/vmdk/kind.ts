import { view } from "../../bytes/struct.ts";
import { looksLikeDescriptor } from "./descriptor.ts";
import { KDMV } from "./header.ts";

/** First bytes of what is recognised and refused. */
const COWD = 0x44574f43;
const SESPARSE = 0xcafebabe;
/** A descriptor's title and version stand within these. */
export const DESCRIPTOR_START = 4096;

type Kind = "descriptor" | "sparse" | "COWD" | "SESPARSE";

/** What a file is, by its first bytes. */
export function kindOf(start: Uint8Array): Kind | null {
  if (start.length >= 12) {
    const dv = view(start);
    const magic = dv.getUint32(0, true);
    if (magic === KDMV) return "sparse";
    if (magic === COWD) return "COWD";
    if (magic === SESPARSE && dv.getUint32(4, true) === 0 && dv.getUint32(8, true) === 1) return "SESPARSE";
  }
  return looksLikeDescriptor(start) ? "descriptor" : null;
}
