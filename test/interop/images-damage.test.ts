import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { StorageError } from "../../src/core/errors.ts";
import type { ImageFormat } from "../../src/core/layer.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { openLayer, run, sparseNoise, temporaryFolder } from "./image-tools.ts";

const folder = temporaryFolder();
const raw = join(folder, "source.raw");
const content = Buffer.from(sparseNoise(raw, 256 * 1024 + 512));

/**
 * Bytes of an image that are damaged one at a time. `guarded`: a checksum or a second copy stands for them, so that the disk reads as before or
 * not at all. The others have neither: what counts is that nothing but a StorageError comes of it.
 */
interface Area {
  readonly name: string;
  readonly from: (size: number) => number;
  readonly length: number;
  readonly guarded: boolean;
  /** Every so many bytes. */
  readonly step?: number;
}

const start = (at: number) => () => at;
const AREAS: readonly (readonly [ImageFormat, string, string, readonly Area[]])[] = [
  ["vdi", "vdi", "static=off", [{ name: "header and map", from: start(0x40), length: 0x1d0, guarded: false }]],
  [
    "vhd",
    "vpc",
    "force_size=on",
    [
      { name: "footer's copy", from: start(0), length: 512, guarded: true },
      { name: "footer", from: (size) => size - 512, length: 512, guarded: true },
      { name: "dynamic header", from: start(512), length: 1024, guarded: true, step: 5 },
      { name: "block table", from: start(1536), length: 16, guarded: false },
    ],
  ],
  [
    "vhd",
    "vpc",
    "subformat=fixed,force_size=on",
    [{ name: "footer", from: (size) => size - 512, length: 512, guarded: true }],
  ],
  [
    "vhdx",
    "vhdx",
    "block_size=1M",
    [
      { name: "signature and creator", from: start(0), length: 64, guarded: true, step: 5 },
      { name: "first header", from: start(64 * 1024), length: 4096, guarded: true, step: 61 },
      { name: "second header", from: start(128 * 1024), length: 80, guarded: true },
      { name: "region table", from: start(192 * 1024), length: 100, guarded: true, step: 3 },
      { name: "copy of the region table", from: start(256 * 1024), length: 100, guarded: true, step: 7 },
      { name: "block table", from: start(2 * 1024 * 1024), length: 24, guarded: false },
      { name: "metadata table", from: start(3 * 1024 * 1024), length: 192, guarded: false },
      { name: "metadata items", from: start(3 * 1024 * 1024 + 64 * 1024), length: 64, guarded: false },
    ],
  ],
  [
    "vmdk",
    "vmdk",
    "subformat=monolithicSparse",
    [
      { name: "header", from: start(0), length: 80, guarded: false },
      { name: "descriptor", from: start(512), length: 400, guarded: false },
    ],
  ],
  [
    "vmdk",
    "vmdk",
    "subformat=streamOptimized",
    [
      { name: "header", from: start(0), length: 80, guarded: false },
      { name: "grains", from: start(64 * 1024), length: 100_000, guarded: true, step: 4999 },
    ],
  ],
];

/** Everything that a user of the image would ask for, within bounds; "same", "other" content, or the error. */
async function useIt(image: Buffer, format: ImageFormat): Promise<"same" | "other" | unknown> {
  try {
    await using layer = await openLayer(memoryDevice(image), format, join(folder, "image"));
    const child = layer.children[0];
    if (!child) return "locked";
    await using disk = await child.open();
    const bytes = await readBytes(disk, 0, Math.min(disk.size, content.length));
    let extents = 0;
    for await (const e of disk.extents(0, Math.min(disk.size, 2 ** 30))) extents += e.length;
    expect(extents).toBe(Math.min(disk.size, 2 ** 30));
    if (disk.size > 0) await disk.read(new Uint8Array(1), disk.size - 1);
    return disk.size === content.length && content.equals(bytes) ? "same" : "other";
  } catch (error) {
    return error;
  }
}

describe.each(AREAS)("%s damaged (%s, %s)", (format, qemu, options, areas) => {
  const image = join(folder, `${format}-${options.replaceAll(/\W/g, "-")}`);
  run("qemu-img", "convert", "-f", "raw", "-O", qemu, "-o", options, raw, image);
  const sound = readFileSync(image);

  it("is as it was without damage", async () => {
    expect(await useIt(Buffer.from(sound), format)).toBe("same");
  });

  it.each(areas)("$name", async ({ from, length, guarded, step = 1 }) => {
    const first = from(sound.length);
    const damaged = Buffer.from(sound);
    for (let at = first; at < first + length; at += step) {
      for (const flip of [0x01, 0xff]) {
        damaged[at]! ^= flip;
        const result = await useIt(damaged, format);
        damaged[at]! ^= flip;
        if (typeof result === "string") {
          if (guarded) expect(result, `${at} ^ ${flip}`).toBe("same");
        } else if (!(result instanceof StorageError)) throw result;
        else
          expect(["corrupt", "unsupported", "limit", "gate", "io"], `${at}: ${result.message}`).toContain(result.code);
      }
    }
  });

  it("cut off anywhere", async () => {
    for (let i = 0; i < 40; i++) {
      const length = i < 20 ? i * 97 : Math.floor((sound.length * (i - 19)) / 21);
      const cut = sound.subarray(0, length);
      const result = await useIt(cut, format);
      if (length < sound.length && result === "other")
        throw new Error(`cut to ${length} bytes it reads as something else`);
      if (typeof result !== "string" && !(result instanceof StorageError)) throw result;
    }
  });
});
