import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openImage, qemuBytes, run, sameContent, sparseNoise, temporaryFolder } from "./image-tools.ts";

const folder = temporaryFolder();
const raw = join(folder, "source.raw");
const content = sparseNoise(raw, 13 * 1024 * 1024 + 1536);

function convert(name: string, subformat: string, ...options: string[]): string {
  const image = join(folder, `${name}.vmdk`);
  const all = [`subformat=${subformat}`, ...options].join();
  run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", all, raw, image);
  return image;
}

describe("VMDK as QEMU makes it", () => {
  it.each(["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"])(
    "%s",
    async (subformat) => {
      const image = convert(subformat, subformat);
      expect(Buffer.compare(qemuBytes(image, "vmdk"), content)).toBe(0);
      await sameContent(image, "vmdk", content);
      await using opened = await openImage(image, "vmdk");
      expect(opened.layer.info.details.subformat).toBe(subformat);
      expect(opened.layer.info.findings).toEqual([]);
    },
  );

  it("grains that are marked as zeros", async () => {
    const image = convert("zeroed", "monolithicSparse", "zeroed_grain=on");
    run("qemu-io", "-f", "vmdk", "-c", "write -z 0 256k", "-c", "write -z 1M 3M", image);
    await sameContent(image, "vmdk", qemuBytes(image, "vmdk"));
    await using opened = await openImage(image, "vmdk");
    const kinds = new Set<string>();
    for await (const e of opened.disk.extents(0, opened.disk.size)) kinds.add(e.kind);
    expect(kinds).toEqual(new Set(["zero", "data", "hole"]));
  });

  it("a disk of several extents: two full ones of 2 GiB and a rest", async () => {
    for (const subformat of ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"]) {
      const image = join(folder, `large-${subformat}.vmdk`);
      run("qemu-img", "create", "-q", "-f", "vmdk", "-o", `subformat=${subformat}`, image, "5G");
      const edge = 2 * 1024 * 1024 * 1024;
      const writes = [0, edge - 4096, edge + 8192, 2 * edge - 512, 5 * 1024 ** 3 - 512];
      run(
        "qemu-io",
        "-f",
        "vmdk",
        ...writes.flatMap((at, i) => ["-c", `write -P ${i + 1} ${at} ${i === 1 ? 8192 : 512}`]),
        image,
      );
      await using opened = await openImage(image, "vmdk");
      expect(opened.disk.size).toBe(5 * 1024 ** 3);
      expect(opened.layer.info.details.extents).toHaveLength(3);
      const bytes = new Uint8Array(16384);
      await opened.disk.read(bytes, edge - 4096);
      expect([bytes[0], bytes[8191], bytes[8192], bytes[12287], bytes[12288]]).toEqual([2, 2, 0, 0, 3]);
      for (const [i, at] of writes.entries()) {
        await opened.disk.read(bytes.subarray(0, 512), at);
        expect(bytes.subarray(0, 512).every((b) => b === i + 1)).toBe(true);
      }
      let data = 0;
      for await (const e of opened.disk.extents(0, opened.disk.size)) if (e.kind === "data") data += e.length;
      // The holes of flat extents are the file system's to know.
      if (subformat === "twoGbMaxExtentSparse") expect(data).toBeLessThan(1024 * 1024);
    }
  });

  it("a stream whose header leaves the grain directory's place to the footer", async () => {
    const image = join(folder, "footer.vmdk");
    const bytes = readFileSync(convert("stream", "streamOptimized"));
    const header = Buffer.from(bytes.subarray(0, 512));
    const tail = Buffer.alloc(1536);
    tail.writeUInt32LE(3, 12);
    header.copy(tail, 512);
    bytes.writeBigUInt64LE(0xffffffffffffffffn, 56);
    writeFileSync(image, Buffer.concat([bytes, tail]));
    expect(Buffer.compare(qemuBytes(image, "vmdk"), content)).toBe(0);
    await sameContent(image, "vmdk", content);
  });
});
