import { createHash } from "node:crypto";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";

/** sha256 of all bytes, as sha256sum prints it. */
export async function contentSha(device: BlockDevice): Promise<string> {
  const hash = createHash("sha256");
  const step = 4 * 1024 * 1024;
  for (let at = 0; at < device.size; at += step) {
    hash.update(await readBytes(device, at, Math.min(step, device.size - at)));
  }
  return hash.digest("hex");
}
