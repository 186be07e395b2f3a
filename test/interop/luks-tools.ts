import { createCipheriv } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readBytes } from "../../src/core/device.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { NodeInfo } from "../../src/core/layer.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { luksDriver } from "../../src/layers/luks/driver.ts";
import { readLuksHeader } from "../../src/layers/luks/layer.ts";
import { unlock } from "../../src/layers/luks/unlock.ts";
import { keyContext, passphrases } from "../helpers/keys.ts";
import { run } from "../helpers/programs.ts";

/** What an image of these tests holds: bytes without any pattern that a wrong IV or offset would survive. */
export function content(length: number, seed: number): Uint8Array {
  const key = Buffer.alloc(16, seed);
  return new Uint8Array(createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(new Uint8Array(length)));
}

/** A LUKS1 image as QEMU's own driver sees it. */
export class QemuLuks {
  readonly #options: string[];

  constructor(image: string, keyFile: string) {
    const target = `driver=luks,file.filename=${image},key-secret=s`;
    this.#options = ["--object", `secret,id=s,file=${keyFile}`, target];
  }

  read(folder: string): Uint8Array {
    const out = join(folder, "qemu-out.raw");
    const [object, secret, source] = this.#options as [string, string, string];
    run("qemu-img", "convert", object, secret, "--image-opts", source, "-O", "raw", out);
    return new Uint8Array(readFileSync(out));
  }

  write(folder: string, bytes: Uint8Array): void {
    const from = join(folder, "qemu-in.raw");
    writeFileSync(from, bytes);
    const [object, secret, target] = this.#options as [string, string, string];
    run("qemu-img", "convert", object, secret, "-n", "-f", "raw", "--target-image-opts", from, target);
  }
}

/**
 * Creates a LUKS1 image of `size` bytes with QEMU. It times PBKDF2 with the thread's CPU clock, and gives up where that clock is
 * too coarse for a fast machine ("Unable to get accurate CPU usage"): then it is asked again.
 */
export function qemuCreate(image: string, keyFile: string, options: readonly string[], size: number): void {
  const all = [...options, "key-secret=s", "iter-time=10"].join(",");
  for (let left = 50; ; left--) {
    try {
      const secret = ["--object", `secret,id=s,file=${keyFile}`];
      run("qemu-img", "create", "-q", "-f", "luks", ...secret, "-o", all, image, String(size));
      return;
    } catch (error) {
      if (left === 0 || !String(error).includes("accurate CPU usage")) throw error;
    }
  }
}

export interface Opened {
  readonly info: NodeInfo;
  readonly locked: string | null;
  readonly reason: string | null;
  readonly bytes: Uint8Array;
}

/** Opens `image` with our driver and reads all of it; `header`: path of a detached one. */
export async function ours(image: string, keys: readonly (string | Uint8Array)[], header?: string): Promise<Opened> {
  await using device = openFileDevice(image);
  await using detached = header === undefined ? null : openFileDevice(header);
  const context = { ...keyContext(passphrases(keys)), ...(detached ? { detachedHeader: detached } : {}) };
  await using layer = await luksDriver.open([device], context);
  const [child] = layer.children;
  const bytes = child ? await readBytes(await child.open(), 0, child.size) : new Uint8Array(0);
  const { locked } = layer;
  return { info: layer.info, locked: locked?.code ?? null, reason: locked?.reason ?? null, bytes };
}

/** Writes `bytes` at `offset` of the payload through our driver. */
export async function write(image: string, key: string, bytes: Uint8Array, offset = 0): Promise<void> {
  await using device = openFileDevice(image, { writable: true });
  await using layer = await luksDriver.open([device], keyContext(passphrases([key]), true));
  await using payload = await layer.children[0]!.open();
  await payload.write(bytes, offset);
  await payload.flush();
}

/** The volume key that our unlocking arrives at, as hexadecimal. */
export async function ourVolumeKey(image: string, key: string): Promise<string> {
  await using device = openFileDevice(image);
  const header = await readLuksHeader(device, { limits: DEFAULT_LIMITS });
  const opened = await unlock(header, device, keyContext(passphrases([key])));
  if ("code" in opened) throw new Error(opened.reason);
  return Buffer.from(opened.key).toString("hex");
}

/** The volume key that cryptsetup arrives at. */
export function cryptsetupVolumeKey(image: string, keyFile: string): Buffer {
  const out = `${image}.vk`;
  rmSync(out, { force: true });
  run("cryptsetup", "luksDump", "-q", "--dump-volume-key", "--volume-key-file", out, "--key-file", keyFile, image);
  return readFileSync(out);
}

/** XTS sector by sector with OpenSSL's own mode, numbered in units of 512 bytes as dm-crypt does. */
export function xtsEncrypt(key: Buffer, plain: Uint8Array, sectorSize: number): Uint8Array {
  const out = new Uint8Array(plain.length);
  for (let at = 0; at < plain.length; at += sectorSize) {
    const iv = Buffer.alloc(16);
    iv.writeBigUInt64LE(BigInt(at / 512));
    const cipher = createCipheriv(`aes-${key.length * 4}-xts`, key, iv).setAutoPadding(false);
    out.set(cipher.update(plain.subarray(at, at + sectorSize)), at);
  }
  return out;
}
