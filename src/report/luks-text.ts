import type { NewLuksDocument } from "../usecases/documents.ts";
import { humanSize } from "./units.ts";

/** One line about a container that was made. */
export function describeNewLuks(luks: NewLuksDocument): string {
  const { version, cipher, keyBits, pbkdf, iterations, memoryKiB, sectorSize, keyslots, uuid } = luks;
  const cost = memoryKiB === null ? `${iterations} iterations` : `${iterations} × ${humanSize(memoryKiB * 1024)}`;
  return `LUKS${version} ${uuid}: ${cipher}, ${keyBits} bits, ${pbkdf} (${cost}), sectors of ${sectorSize}, ${keyslots} keyslot${keyslots === 1 ? "" : "s"}`;
}
