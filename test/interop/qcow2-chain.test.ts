import { mkdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { openForInspection } from "../../src/usecases/open-for-reading.ts";
import { readableVolume } from "../../src/usecases/readable-volume.ts";
import { noise, rawFile, run, temporaryFolder } from "./qcow2-tools.ts";

const folder = temporaryFolder();
const SIZE = 1024 * 1024;
const at = (...names: string[]) => join(folder, ...names);

beforeAll(() => {
  process.env.UNTERBAU_STATE_DIR = at("state");
});

function overlay(image: string, backing: string, format: string): string {
  run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", format, image, String(SIZE));
  return image;
}

async function read(image: string, allowPath: readonly string[] = []): Promise<Uint8Array> {
  await using opened = await openForInspection({ sources: [image], keys: { secretsFor: async () => [] }, allowPath });
  const { device } = readableVolume(opened.stack, "disk1");
  return readBytes(device, 0, device.size);
}

/** As QEMU reads it. */
function converted(image: string): Uint8Array {
  run("qemu-img", "convert", "-O", "raw", image, at("converted.raw"));
  return readFileSync(at("converted.raw"));
}

describe("a chain of images, from the command's side", () => {
  it.each(["vmdk", "vdi", "vpc", "vhdx"])("goes on with another program's format below: %s", async (format) => {
    const raw = rawFile(at("source.raw"), noise(SIZE, 3));
    run("qemu-img", "convert", "-f", "raw", "-O", format, raw, at(`base.${format}`));
    const top = overlay(at(`over-${format}.qcow2`), `base.${format}`, format);
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 100k 30k", top);
    expect(Buffer.compare(await read(top), converted(top).subarray(0, SIZE))).toBe(0);
  });

  it("resolves each relative name from the image that has it, as it is named there", async () => {
    mkdirSync(at("links/bases"), { recursive: true });
    mkdirSync(at("real"));
    rawFile(at("links/bases/base.raw"), noise(SIZE, 11));
    // Beside the file that the link leads to lies another one of that name, which QEMU does not take.
    rawFile(at("real/base.raw"), noise(SIZE, 12));
    renameSync(overlay(at("links/bases/mid.qcow2"), "base.raw", "raw"), at("real/mid.qcow2"));
    symlinkSync(at("real/mid.qcow2"), at("links/bases/mid.qcow2"));
    const top = overlay(at("links/top.qcow2"), "bases/mid.qcow2", "qcow2");
    const expected = converted(top);
    expect(Buffer.compare(expected, noise(SIZE, 11))).toBe(0);
    await expect(read(top)).rejects.toMatchObject({ message: /outside its own folder/ });
    expect(Buffer.compare(await read(top, [at("real"), at("links")]), expected)).toBe(0);
  });

  it("refuses a chain that leads back to itself, and an image that is its own backing file", async () => {
    overlay(at("a.qcow2"), "b.qcow2", "qcow2");
    overlay(at("b.qcow2"), "c.qcow2", "qcow2");
    symlinkSync(at("a.qcow2"), at("c.qcow2"));
    await expect(read(at("a.qcow2"))).rejects.toMatchObject({ message: /needs it in turn/ });
    overlay(at("self.qcow2"), "self.qcow2", "qcow2");
    await expect(read(at("self.qcow2"))).rejects.toMatchObject({ message: /the image itself/ });
    overlay(at("raw-self.qcow2"), "raw-self.qcow2", "raw");
    await expect(read(at("raw-self.qcow2"))).rejects.toMatchObject({ message: /the image itself/ });
  });
});
