import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { qemuBytes, run, sameContent, sparseNoise, temporaryFolder } from "./image-tools.ts";

const folder = temporaryFolder();
const SIZE = 13 * 1024 * 1024 + 1536;
const raw = join(folder, "source.raw");
const content = sparseNoise(raw, SIZE);

describe("VDI as QEMU makes it", () => {
  it.each([
    ["dynamic", []],
    ["fixed", ["-o", "static=on"]],
  ])("%s", async (name, options) => {
    const image = join(folder, `${name}.vdi`);
    run("qemu-img", "convert", "-f", "raw", "-O", "vdi", ...options, raw, image);
    expect(Buffer.compare(qemuBytes(image, "vdi"), content)).toBe(0);
    await sameContent(image, "vdi", content);
  });
});
