import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";

const FOLDER = new URL("../fixtures/md/", import.meta.url);

/** What the kernel's md driver and `mdadm` said of an array (test/fixtures/md/make.sh). */
export interface MdTruth {
  readonly size: number;
  /** Of the whole array, as /dev/md0 gave it. */
  readonly sha256: string;
  readonly level: string;
  /** As mdadm writes it. */
  readonly uuid: string;
  readonly members: readonly ({ readonly size: number } & Readonly<Record<string, string | number>>)[];
}

export const MD_TRUTH: Readonly<Record<string, MdTruth>> = JSON.parse(
  readFileSync(new URL("truth.json", FOLDER), "utf8"),
);

const unpacked = new Map<string, Uint8Array>();

/** The members' bytes, new copies each time. */
export function mdMembers(name: string): Uint8Array[] {
  const whole = unpacked.get(name) ?? brotliDecompressSync(readFileSync(new URL(`${name}.br`, FOLDER)));
  unpacked.set(name, whole);
  let at = 0;
  return MD_TRUTH[name]!.members.map(({ size }) => {
    at += size;
    return Uint8Array.from(whole.subarray(at - size, at));
  });
}

export function mdDevices(members: readonly Uint8Array[]): BlockDevice[] {
  return members.map((bytes) => memoryDevice(bytes));
}

export async function sha256Of(device: BlockDevice): Promise<string> {
  return createHash("sha256")
    .update(await readBytes(device, 0, device.size))
    .digest("hex");
}
