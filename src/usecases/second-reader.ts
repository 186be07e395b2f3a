import { createDecipheriv, createHash } from "node:crypto";
import type { BlockDevice } from "../core/device.ts";
import { StorageError } from "../core/errors.ts";
import { openUnlocked } from "../host/open-source.ts";
import type { FormatParameters } from "../tools/cryptsetup.ts";
import { volumeKey } from "../tools/cryptsetup.ts";

const CHUNK = 4 * 1024 * 1024;

export interface HashOptions {
  readonly onDone?: ((done: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** SHA-256 of all of a device, zeros up to a multiple of `pad` behind it. */
export async function hashDevice(device: BlockDevice, pad: number, options: HashOptions): Promise<string> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(CHUNK);
  for (let at = 0; at < device.size; at += CHUNK) {
    options.signal?.throwIfAborted();
    const bytes = buffer.subarray(0, Math.min(CHUNK, device.size - at));
    await device.read(bytes, at, { signal: options.signal });
    hash.update(bytes);
    options.onDone?.(at + bytes.length);
  }
  return hash.update(new Uint8Array((pad - (device.size % pad)) % pad)).digest("hex");
}

/**
 * SHA-256 of the payload of a container that was made with these parameters, by another way than the one on which it was written: the
 * volume key comes from cryptsetup, the bytes from the file anew, and each sector is decrypted by itself by OpenSSL's XTS.
 */
export async function hashPayload(
  path: string,
  parameters: FormatParameters,
  size: number,
  secret: Uint8Array,
  options: HashOptions,
): Promise<string> {
  const { cipher, keyBits, sectorSize, dataOffset } = parameters;
  if (cipher !== "aes-xts-plain64") {
    throw new StorageError("unsupported", `${cipher} is not verified by a second reader`, {
      layer: "luks",
      feature: `verification of ${cipher}`,
      hint: "aes-xts-plain64",
    });
  }
  const key = await volumeKey(path, secret, options);
  try {
    await using file = openUnlocked(path);
    const hash = createHash("sha256");
    const buffer = Buffer.alloc(CHUNK);
    const iv = Buffer.alloc(16);
    for (let at = 0; at < size; at += CHUNK) {
      options.signal?.throwIfAborted();
      const bytes = buffer.subarray(0, Math.min(CHUNK, size - at));
      await file.read(bytes, dataOffset + at);
      for (let sector = 0; sector < bytes.length; sector += sectorSize) {
        // dm-crypt counts in units of 512 bytes whatever the sector's size (LUKS2 without iv-large-sectors).
        iv.writeBigUInt64LE(BigInt((at + sector) / 512));
        const decipher = createDecipheriv(`aes-${keyBits / 2}-xts`, key, iv);
        hash.update(decipher.update(bytes.subarray(sector, sector + sectorSize)));
      }
      options.onDone?.(at + bytes.length);
    }
    return hash.digest("hex");
  } finally {
    key.fill(0);
  }
}
