import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { check, noise, openImage, qemuBytes, qemuIo, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 2 * 1024 * 1024;

/** Snapshots `first` (id 1), `second` (2) and `1` (3), a different present state of another size, over a backing file or none. */
function build(name: string, options: string, backing: boolean): string {
  const image = join(folder, `${name}.qcow2`);
  const over = backing ? ["-b", rawFile(join(folder, `${name}.raw`), noise(SIZE, 5)), "-F", "raw"] : [];
  run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, ...over, image, String(SIZE));
  qemuIo(image, "write -P 1 100k 300k", "write -z 1M 64k");
  run("qemu-img", "snapshot", "-c", "first", image);
  qemuIo(image, "write -P 2 200k 300k", "discard 1500k 200k");
  run("qemu-img", "snapshot", "-c", "second", image);
  qemuIo(image, "write -P 3 0 2M");
  run("qemu-img", "snapshot", "-c", "1", image);
  run("qemu-img", "resize", "-q", image, String(2 * SIZE));
  qemuIo(image, "write -P 4 0 3M");
  return image;
}

describe("an internal snapshot as the disk", () => {
  it.each([
    ["plain", "cluster_size=64k", false],
    ["small", "cluster_size=4096", true],
    ["subclusters", "extended_l2=on,cluster_size=16k", true],
  ])("reads as QEMU reads it, with its own size: %s", async (name, options, backing) => {
    const image = build(name, options, backing);
    for (const [wanted, snapshot] of [
      ["first", "first"],
      ["2", "second"],
      ["name=1", "1"],
      ["id=3", "1"],
    ] as const) {
      await using opened = await openImage(image, false, {}, { snapshot: wanted });
      // QEMU converts a snapshot with the size that the disk has now.
      const expected = qemuBytes(image, snapshot);
      expect(opened.disk.size).toBe(SIZE);
      expect(Buffer.compare(await readBytes(opened.disk, 0, SIZE), expected.subarray(0, SIZE))).toBe(0);
      expect(opened.layer.info.details.snapshot).toMatchObject({ name: snapshot });
      expect(opened.disk.caps.writable).toBe(false);
    }
    expect(check(image).status).toBe(0);
  });

  it("says which there are when none or several go by that name, and is never written to", async () => {
    const image = build("names", "cluster_size=64k", false);
    const open = (snapshot: string, writable = false) => openImage(image, writable, {}, { snapshot });
    await expect(open("third")).rejects.toMatchObject({
      code: "usage",
      hint: "there are: 1 (first), 2 (second), 3 (1)",
    });
    await expect(open("1")).rejects.toMatchObject({ code: "usage", message: /1 \(first\), 3 \(1\)/ });
    await expect(open("id=9")).rejects.toMatchObject({ code: "usage" });
    await expect(open("first", true)).rejects.toMatchObject({ code: "read-only", hint: /convert -l/ });
    const none = join(folder, "none.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", none, "1M");
    await expect(openImage(none, false, {}, { snapshot: "x" })).rejects.toMatchObject({ hint: "the image has none" });
  });
});
