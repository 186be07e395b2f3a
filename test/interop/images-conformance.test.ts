import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { ImageFormat } from "../../src/core/layer.ts";
import { detectImage } from "../../src/stack/images.ts";
import { deviceConformance } from "../conformance/suite.ts";
import { openImage, openLayer, run, sparseNoise, temporaryFolder } from "./image-tools.ts";

const folder = temporaryFolder();
const raw = join(folder, "source.raw");
const content = sparseNoise(raw, 3 * 1024 * 1024 + 512);

/** Our name, QEMU's name, QEMU's options. */
const KINDS: readonly (readonly [ImageFormat, string, string])[] = [
  ["vdi", "vdi", "static=off"],
  ["vhd", "vpc", "force_size=on"],
  ["vhd", "vpc", "subformat=fixed,force_size=on"],
  ["vhdx", "vhdx", "block_size=1M"],
  ["vmdk", "vmdk", "subformat=monolithicSparse"],
  ["vmdk", "vmdk", "subformat=streamOptimized"],
  ["vmdk", "vmdk", "subformat=twoGbMaxExtentSparse"],
  ["vmdk", "vmdk", "subformat=twoGbMaxExtentFlat"],
];

for (const [i, [format, qemu, options]] of KINDS.entries()) {
  const image = join(folder, `image${i}.${format}`);
  run("qemu-img", "convert", "-f", "raw", "-O", qemu, "-o", options, raw, image);

  deviceConformance(`${format}, ${options}`, async () => {
    const opened = await openImage(image, format);
    return { device: opened.disk, content, cleanup: async () => opened[Symbol.asyncDispose]() };
  });

  describe(`${format}, ${options}`, () => {
    it("is recognised, and by no other driver before", async () => {
      const file = openFileDevice(image);
      expect((await detectImage(file))?.name).toBe(format);
      await file[Symbol.asyncDispose]();
    });

    it("shows itself when writing is asked for, and refuses its content by name", async () => {
      const file = openFileDevice(image, { writable: true });
      const layer = await openLayer(file, format, image, { writable: true });
      expect(layer.info.details.virtualSize).toBe(content.length);
      expect(layer.children[0]?.unavailable).toMatch(new RegExp(`${format} images are only read; convert it first`));
      await layer[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    });

    it("two users of the disk do not close each other's", async () => {
      await using opened = await openImage(image, format);
      const other = await opened.layer.children[0]!.open();
      await other[Symbol.asyncDispose]();
      const bytes = new Uint8Array(700);
      await opened.disk.read(bytes, content.length - 700);
      expect(Buffer.compare(bytes, content.subarray(content.length - 700))).toBe(0);
    });
  });
}
