import type { BlockDevice } from "../../core/device.ts";
import type { OpenContext, UnlockedHeader } from "../../core/layer.ts";
import { sectorCipher } from "../../crypto/sector-cipher.ts";
import { wipe } from "../../crypto/wipe.ts";
import { readLuksHeader } from "./layer.ts";
import { unlock } from "./unlock.ts";

/**
 * Unlocks a LUKS header that lies inside an image format, which says itself where the payload is and counts its sectors: the header's own
 * payload offset means nothing (qcow2 specification, "Full disk encryption header pointer"). `header`: that area of the image.
 */
export async function unlockEmbedded(
  header: BlockDevice,
  context: Pick<OpenContext, "keys" | "limits" | "signal">,
): Promise<UnlockedHeader> {
  const read = await readLuksHeader(header, context);
  const { payload, findings, kind } = read;
  const details = { ...read.details, type: kind };
  const locked = (code: "unsupported" | "no-key" | "wrong-key", reason: string): UnlockedHeader => ({
    details,
    findings,
    result: { locked: { code, reason } },
  });
  if ("refused" in payload) return locked(payload.code, payload.refused);
  if (payload.sectorSize !== 512) {
    return locked(
      "unsupported",
      `an embedded LUKS header with sectors of ${payload.sectorSize} bytes is not supported`,
    );
  }
  const result = await unlock(read, header, context);
  if ("code" in result) return locked(result.code, result.reason);
  const codec = sectorCipher(payload.cipher, result.key, payload.sectorSize);
  wipe(result.key);
  return {
    details: { ...details, unlockedBy: { slot: result.slot, origin: result.origin } },
    findings,
    result: { codec },
  };
}
