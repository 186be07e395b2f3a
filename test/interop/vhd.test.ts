import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import { detectImage } from "../../src/stack/images.ts";
import { openImage, qemuBytes, run, sameContent, sparseNoise, temporaryFolder } from "./image-tools.ts";

const folder = temporaryFolder();
const raw = join(folder, "source.raw");
const content = sparseNoise(raw, 13 * 1024 * 1024 + 1536);

describe("VHD as QEMU makes it", () => {
  it.each([
    ["dynamic", []],
    ["fixed", ["-o", "subformat=fixed"]],
    ["dynamic, size as it is", ["-o", "force_size=on"]],
    ["fixed, size as it is", ["-o", "subformat=fixed,force_size=on"]],
  ])("%s", async (name, options) => {
    const image = join(folder, `${name}.vhd`);
    run("qemu-img", "convert", "-f", "raw", "-O", "vpc", ...options, raw, image);
    // By its geometry the disk is a little larger than what went in.
    const expected = qemuBytes(image, "vpc");
    expect(Buffer.compare(expected.subarray(0, content.length), content)).toBe(0);
    await sameContent(image, "vhd", expected);
    const file = openFileDevice(image);
    expect((await detectImage(file))?.name).toBe("vhd");
    await file[Symbol.asyncDispose]();
  });

  it("says where the size comes from", async () => {
    const image = join(folder, "small.vhd");
    run("qemu-img", "create", "-q", "-f", "vpc", image, "5M");
    const info = JSON.parse(run("qemu-img", "info", "-f", "vpc", "--output=json", image)) as { "virtual-size": number };
    await using opened = await openImage(image, "vhd");
    expect(opened.layer.info.details).toMatchObject({
      subformat: "dynamic",
      virtualSize: info["virtual-size"],
      sizeByGeometry: true,
      blockSize: 2 * 1024 * 1024,
    });
  });
});
