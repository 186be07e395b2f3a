import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { ImageFormat, Layer } from "../../src/core/layer.ts";
import { checksum } from "../../src/layers/vhd/footer.ts";
import { detectImage } from "../../src/stack/images.ts";
import {
  type OpenOptions,
  openImage,
  openLayer,
  run,
  sameContent,
  sparseNoise,
  temporaryFolder,
} from "./image-tools.ts";

const folder = temporaryFolder();
const raw = join(folder, "source.raw");
const content = sparseNoise(raw, 3 * 1024 * 1024 + 512);

function convert(name: string, qemu: string, options: string): string {
  const image = join(folder, name);
  run("qemu-img", "convert", "-f", "raw", "-O", qemu, "-o", options, raw, image);
  return image;
}

function edited(image: string, name: string, edit: (bytes: Buffer) => void): string {
  const bytes = readFileSync(image);
  edit(bytes);
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function withLayer<T>(
  path: string,
  format: ImageFormat,
  work: (layer: Layer) => T,
  options: OpenOptions = {},
): Promise<T> {
  await using file = openFileDevice(path);
  await using layer = await openLayer(file, format, path, options);
  return work(layer);
}

const locked = (path: string, format: ImageFormat) =>
  withLayer(path, format, (layer) => layer.locked?.reason ?? "opened");

const detected = async (path: string) => {
  await using file = openFileDevice(path);
  return (await detectImage(file))?.name ?? "raw";
};

describe("refused by name, with the header shown", () => {
  it("a VMDK over another, as QEMU makes it", async () => {
    const base = convert("base.vmdk", "vmdk", "subformat=monolithicSparse");
    const top = join(folder, "top.vmdk");
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, top);
    expect(await locked(top, "vmdk")).toBe("not supported: a VMDK image with a parent (a snapshot or linked clone)");
    expect(await withLayer(top, "vmdk", (l) => l.info.details.parentCid)).toMatch(/^[0-9a-f]{8}$/);
  });

  it("ESXi's sparse formats, by themselves and as extents", async () => {
    const cowd = join(folder, "cowd.vmdk");
    writeFileSync(cowd, Buffer.concat([Buffer.from("COWD\x01\0\0\0", "latin1"), Buffer.alloc(2048)]));
    const seSparse = join(folder, "sesparse.vmdk");
    const header = Buffer.alloc(1024);
    header.writeBigUInt64LE(0xcafebaben, 0);
    header.writeBigUInt64LE(0x200000001n, 8);
    writeFileSync(seSparse, header);
    expect([await detected(cowd), await detected(seSparse)]).toEqual(["vmdk", "vmdk"]);
    expect(await locked(cowd, "vmdk")).toMatch(/COWD/);
    expect(await locked(seSparse, "vmdk")).toMatch(/SESPARSE/);
    for (const type of ["VMFSSPARSE", "SESPARSE", "VMFSRDM"]) {
      expect(await locked(descriptor(`RW 8 ${type} "x.vmdk"`, "vmfsSparse"), "vmdk")).toContain(type);
    }
  });

  it("extents that may not be read, and images of a host's own devices", async () => {
    expect(await locked(descriptor('NOACCESS 8 FLAT "x" 0'), "vmdk")).toMatch(/NOACCESS/);
    expect(await locked(descriptor('RW 8 FLAT "/dev/sda" 0', "fullDevice"), "vmdk")).toMatch(/fullDevice/);
  });

  it("one extent of several", async () => {
    convert("split.vmdk", "vmdk", "subformat=twoGbMaxExtentSparse");
    await expect(locked(join(folder, "split-s001.vmdk"), "vmdk")).rejects.toMatchObject({
      code: "unsupported",
      hint: expect.stringContaining("descriptor"),
    });
  });

  it("a differencing VDI, VHD and VHDX", async () => {
    const vdi = convert("d.vdi", "vdi", "static=off");
    expect(
      await locked(
        edited(vdi, "diff.vdi", (b) => b.writeUInt32LE(4, 0x4c)),
        "vdi",
      ),
    ).toMatch(/differencing VDI/);
    expect(
      await locked(
        edited(vdi, "linked.vdi", (b) => b.fill(7, 0x1a8, 0x1b8)),
        "vdi",
      ),
    ).toMatch(/differencing VDI/);
    expect(
      await locked(
        edited(vdi, "v2.vdi", (b) => b.writeUInt32LE(0x00020000, 0x44)),
        "vdi",
      ),
    ).toMatch(/VDI version 2.0/);
    const vhd = convert("d.vhd", "vpc", "force_size=on");
    const differencing = edited(vhd, "diff.vhd", (bytes) => {
      for (const footer of [bytes.subarray(0, 512), bytes.subarray(-512)]) {
        footer.writeUInt32BE(4, 60);
        footer.writeUInt32BE(checksum(footer, 64), 64);
      }
    });
    expect(await locked(differencing, "vhd")).toMatch(/differencing VHD/);
    const vhdx = convert("d.vhdx", "vhdx", "block_size=1M");
    const parameters = 3 * 1024 * 1024 + 64 * 1024;
    const child = edited(vhdx, "diff.vhdx", (b) => b.writeUInt32LE(b.readUInt32LE(parameters + 4) | 2, parameters + 4));
    expect(await locked(child, "vhdx")).toMatch(/differencing VHDX/);
  });
});

let descriptors = 0;
function descriptor(extents: string, createType = "monolithicFlat", inside = folder): string {
  const path = join(inside, `descriptor${descriptors++}.vmdk`);
  const text = `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="${createType}"\n\n${extents}\n`;
  writeFileSync(path, text);
  return path;
}

describe("what a VMDK descriptor names", () => {
  const sectors = content.length / 512;

  it("is read from where it says, with zeros between", async () => {
    const path = descriptor(
      `RW 100 FLAT "source.raw" 7\nRDONLY 64 ZERO\nRW ${sectors} VMFS "source.raw"\n# RW 5 ZERO`,
      "custom",
    );
    await sameContent(
      path,
      "vmdk",
      Buffer.concat([content.subarray(7 * 512, 107 * 512), new Uint8Array(64 * 512), content]),
    );
  });

  it("is not opened outside the image's folder, nor through a link", async () => {
    const inside = join(folder, "gated");
    mkdirSync(inside);
    symlinkSync(raw, join(inside, "link.raw"));
    for (const name of ["/etc/shadow", "../source.raw", raw, "link.raw"]) {
      const path = descriptor(`RW 1 FLAT "${name}" 0`, "monolithicFlat", inside);
      await expect(locked(path, "vmdk"), name).rejects.toMatchObject({ code: "gate", layer: "vmdk" });
    }
    const allowed = descriptor(`RW ${sectors} FLAT "../source.raw" 0`, "monolithicFlat", inside);
    expect(await withLayer(allowed, "vmdk", (l) => l.children[0]!.size, { allow: [folder] })).toBe(content.length);
  });

  it("is missed by its name, and is not to be shorter than it says", async () => {
    await expect(locked(descriptor('RW 8 FLAT "absent.vmdk" 0'), "vmdk")).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("absent.vmdk"),
    });
    const tooLong = descriptor(`RW ${sectors} FLAT "source.raw" 1`);
    await expect(locked(tooLong, "vmdk")).rejects.toMatchObject({ code: "corrupt" });
  });

  it("is limited in number, and lines that are not understood are not passed over", async () => {
    const many = descriptor('RW 8 FLAT "source.raw" 0\n'.repeat(50));
    await expect(withLayer(many, "vmdk", () => 0, { limits: { vmdkExtents: 49 } })).rejects.toMatchObject({
      code: "limit",
      hint: expect.stringContaining("vmdkExtents"),
    });
    for (const line of [
      "rw 8 FLAT x 0",
      "RW 0 ZERO",
      'RW 8 ZERO "source.raw"',
      "RW 8 FLAT",
      'RW 99999999999999999 FLAT "a" 0',
    ]) {
      await expect(locked(descriptor(line), "vmdk"), line).rejects.toMatchObject({ code: "corrupt" });
    }
  });

  it("is not looked for in a file that only begins with the title", async () => {
    const path = join(folder, "notes.txt");
    writeFileSync(path, "# Disk DescriptorFile is what they call it\nand this is no such thing\nversion=1\n");
    expect(await detected(path)).toBe("raw");
  });
});

describe("second copies", () => {
  it("VMDK: the redundant grain directory", async () => {
    const image = convert("rgd.vmdk", "vmdk", "subformat=monolithicSparse");
    const gd = Number(readFileSync(image).readBigUInt64LE(56)) * 512;
    const path = edited(image, "gd.vmdk", (b) => b.writeUInt32LE(0x7fffffff, gd));
    await sameContent(path, "vmdk", content);
    expect(await withLayer(path, "vmdk", (l) => l.info.findings.map((f) => f.code))).toEqual(["vmdk-grain-directory"]);
    const both = edited(path, "gd2.vmdk", (b) => {
      b.writeUInt32LE(0x7fffffff, Number(b.readBigUInt64LE(48)) * 512);
    });
    await expect(locked(both, "vmdk")).rejects.toMatchObject({ code: "corrupt" });
  });

  it("VHD: one footer of two, with a finding", async () => {
    const image = convert("two.vhd", "vpc", "force_size=on");
    for (const [name, at, code] of [
      ["first.vhd", 100, "vhd-footer-copy"],
      ["last.vhd", -400, "vhd-footer"],
    ] as const) {
      const path = edited(image, name, (b) => b.writeUInt8(b.at(at)! ^ 1, at < 0 ? b.length + at : at));
      await sameContent(path, "vhd", content);
      expect(await withLayer(path, "vhd", (l) => l.info.findings.map((f) => f.code))).toEqual([code]);
    }
  });

  it("VHD: what a guest writes into the first sector of a fixed image is not taken for the copy of the footer", async () => {
    const dynamic = readFileSync(convert("dyn.vhd", "vpc", "force_size=on")).subarray(0, 512);
    const image = convert("fix.vhd", "vpc", "subformat=fixed,force_size=on");
    const path = edited(image, "attacked.vhd", (b) => b.set(dynamic, 0));
    await using opened = await openImage(path, "vhd");
    const bytes = new Uint8Array(512);
    await opened.disk.read(bytes, 0);
    expect(opened.layer.info.details.subformat).toBe("fixed");
    expect(Buffer.compare(bytes, dynamic)).toBe(0);
  });
});
