import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { gptDriver } from "../../src/layers/gpt/driver.ts";
import { mbrDriver } from "../../src/layers/mbr/driver.ts";
import { typeName } from "../../src/layers/mbr/types.ts";
import { plainContext, probeDevice, withFile } from "../helpers/open-context.ts";
import { emptyDisk, feed, partx } from "../helpers/partition-tables.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
afterAll(() => folder.remove());

let serial = 0;
/** An image of `mib` MiB of which every sector says where it is, with what sfdisk makes of `script`. */
function disk(mib: number, script: string): string {
  const path = join(folder.path, `disk${serial++}.raw`);
  const bytes = Buffer.alloc(mib * MIB);
  for (let at = 512; at < bytes.length; at += 512) bytes.writeDoubleLE(at, at);
  writeFileSync(path, bytes);
  feed(script, "sfdisk", "-q", "--no-reread", "--no-tell-kernel", path);
  return path;
}

/** Our view in partx's terms. */
async function ours(device: BlockDevice) {
  const layer = await mbrDriver.open([device], plainContext());
  return layer.children.map((c) => ({
    number: c.info!.details.number,
    start: c.offset,
    size: c.size,
    type: `0x${Number.parseInt(String(c.info!.details.type), 16).toString(16)}`,
    uuid: c.info!.details.partuuid,
    name: "",
    flags: c.info!.details.bootable ? "0x80" : "0x0",
  }));
}

const WITH_LOGICAL = `label: dos
label-id: 0x000392a8
,3M,83,*
,2M,82
,,5
,2M,83
,1M,8e
,1M,fd
,2M,c
`;

describe("MBR against sfdisk and libblkid", () => {
  it("finds primary and logical partitions as partx does", async () => {
    const path = disk(16, WITH_LOGICAL);
    await withFile(path, async (device) => {
      const rows = await ours(device);
      expect(rows).toEqual(partx(path));
      expect(rows).toHaveLength(7);
      const layer = await mbrDriver.open([device], plainContext());
      const { partitiontable } = JSON.parse(run("sfdisk", "--json", path)) as {
        partitiontable: { id: string; partitions: { start: number; size: number; type: string; bootable?: boolean }[] };
      };
      expect(layer.info.details.id).toBe(partitiontable.id);
      expect(layer.info.findings).toEqual([]);
      expect(
        layer.children.map(({ info }) => [info!.details.start, info!.details.sectors, info!.details.bootable]),
      ).toEqual(partitiontable.partitions.map((p) => [p.start, p.size, p.bootable ?? false]));
      expect(layer.children.filter((c) => !c.hasContent).map((c) => c.name)).toEqual(["p3"]);
    });
  });

  it("gives each partition's own bytes, and writes to no others", async () => {
    const path = disk(16, WITH_LOGICAL);
    const before = readFileSync(path);
    await withFile(
      path,
      async (device) => {
        const layer = await mbrDriver.open([device], plainContext(true));
        const row = partx(path).find((r) => r.number === 6)!;
        const p6 = await layer.children.find((c) => c.name === "p6")!.open();
        expect(p6.size).toBe(row.size);
        const content = await readBytes(p6, 0, p6.size);
        expect(Buffer.compare(content, before.subarray(row.start, row.start + row.size))).toBe(0);
        expect(Buffer.from(content).readDoubleLE(512)).toBe(row.start + 512);
        await p6.write(new Uint8Array(p6.size).fill(0xee), 0);
        await p6.flush();
        before.fill(0xee, row.start, row.start + row.size);
      },
      { writable: true },
    );
    expect(Buffer.compare(readFileSync(path), before)).toBe(0);
  });

  it("takes the names of types from the same table as sfdisk", () => {
    const rows = [...run("sfdisk", "--label", "dos", "--list-types").matchAll(/^ *([0-9a-f]{1,2}) {2}(.+)$/gm)];
    expect(rows.length).toBeGreaterThan(90);
    for (const [, code, name] of rows) expect(typeName(Number.parseInt(code!, 16))).toBe(name!.trim());
  });

  it("counts in 4096-byte sectors when the disk's content shows it", async () => {
    const path = emptyDisk(join(folder.path, "4k.raw"), 64 * MIB);
    feed("o\nn\np\n1\n\n+16M\nn\np\n2\n\n\nw\n", "fdisk", "-b", "4096", path);
    const rows = partx(path, 4096);
    run("mke2fs", "-q", "-F", "-E", `offset=${rows[1]!.start}`, path, "8M");
    await withFile(path, async (device) => expect(await ours(device)).toEqual(rows), { sectorSize: 4096 });
  });

  it("counts in 512-byte sectors on a device of 4096 when the guest did", async () => {
    const path = disk(32, WITH_LOGICAL);
    await withFile(path, async (device) => expect(await ours(device)).toEqual(partx(path)), { sectorSize: 4096 });
  });

  it("says when nothing shows the unit", async () => {
    const path = disk(64, "label: dos\n8,2M,83\n");
    await withFile(
      path,
      async (device) => {
        const { findings } = (await mbrDriver.open([device], plainContext())).info;
        expect(findings.map((f) => f.code)).toEqual(["mbr-sector-size-guessed"]);
      },
      { sectorSize: 4096 },
    );
  });

  it("marks a partition that the image is too short for", async () => {
    const path = disk(16, "label: dos\n,4M,83\n,10M,83\n");
    truncateSync(path, 8 * MIB);
    await withFile(path, async (device) => {
      const [p1, p2] = (await mbrDriver.open([device], plainContext())).children;
      expect(p1!.unavailable).toBeNull();
      expect(p2!.unavailable).toMatch(/beyond the end/);
      await expect(p2!.open()).rejects.toMatchObject({ code: "corrupt" });
    });
  });
});

describe("MBR probe: other content that ends its first sector with 55 AA", () => {
  const makers: readonly (readonly [string, (path: string) => void])[] = [
    ["FAT12", (path) => run("mkfs.vfat", "-F", "12", path, "8192")],
    ["FAT16", (path) => run("mkfs.vfat", "-F", "16", path)],
    ["FAT32", (path) => run("mkfs.vfat", "-F", "32", path)],
    ["ext4 with a boot loader", (path) => boot(path, () => run("mke2fs", "-q", "-F", path))],
    ["XFS with the signature", (path) => boot(path, () => run("mkfs.xfs", "-q", "-f", path))],
    ["Btrfs with a boot loader", (path) => boot(path, () => run("mkfs.btrfs", "-q", "-f", path))],
    ["swap with a boot loader", (path) => boot(path, () => run("mkswap", "-q", path))],
    ["LUKS1 with the signature by chance", (path) => boot(path, () => luks(path, "luks1"))],
    ["LUKS2", (path) => luks(path, "luks2")],
    ["zeros", () => {}],
  ];

  function boot(path: string, make: () => void): void {
    make();
    const fd = openSync(path, "r+");
    writeSync(fd, Uint8Array.of(0x55, 0xaa), 0, 2, 510);
    closeSync(fd);
  }

  function luks(path: string, type: string): void {
    const options = ["--batch-mode", "--type", type, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    feed("key", "cryptsetup", "luksFormat", ...options, "--key-file", "-", path);
  }

  for (const [name, make] of makers) {
    it(`does not take ${name} for a table`, async () => {
      const path = emptyDisk(join(folder.path, `other${serial++}.raw`), 320 * MIB);
      make(path);
      await withFile(path, async (device) => expect(await probeDevice(mbrDriver, device)).toBeNull());
    });
  }

  it("takes a table with partitions, and one without on an otherwise empty disk", async () => {
    for (const script of ["label: dos\n,4M,83\n", "label: dos\n"]) {
      await withFile(disk(8, script), async (device) => expect(await probeDevice(mbrDriver, device)).not.toBeNull());
    }
  });

  it("leaves a protective MBR to GPT, and shows it when the GPT is gone", async () => {
    const path = disk(8, "label: gpt\n,2M\n");
    await withFile(path, async (device) => {
      expect(await probeDevice(mbrDriver, device)).toBeNull();
      expect(await probeDevice(gptDriver, device)).not.toBeNull();
    });
    const fd = openSync(path, "r+");
    writeSync(fd, new Uint8Array(512), 0, 512, 512);
    writeSync(fd, new Uint8Array(512), 0, 512, 8 * MIB - 512);
    closeSync(fd);
    await withFile(path, async (device) => {
      expect(await probeDevice(gptDriver, device)).toBeNull();
      expect(await probeDevice(mbrDriver, device)).not.toBeNull();
      const layer = await mbrDriver.open([device], plainContext());
      expect(layer.info.findings.map((f) => f.code)).toEqual(["mbr-protective-without-gpt"]);
      expect(layer.children.every((c) => !c.hasContent)).toBe(true);
    });
  });
});
