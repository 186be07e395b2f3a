import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { gptDriver } from "../../src/layers/gpt/driver.ts";
import { typeName } from "../../src/layers/gpt/types.ts";
import { plainContext, probeDevice, withFile } from "../helpers/open-context.ts";
import { emptyDisk, feed, partx } from "../helpers/partition-tables.ts";
import { run, temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
afterAll(() => folder.remove());

let serial = 0;
function disk(mib: number, script: string): string {
  const path = emptyDisk(join(folder.path, `disk${serial++}.raw`), mib * MIB);
  feed(script, "sfdisk", "-q", "--no-reread", "--no-tell-kernel", path);
  return path;
}

function patch(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

const open = (device: BlockDevice) => gptDriver.open([device], plainContext());

/** Our view in partx's terms; it shows attributes as flags. */
async function ours(device: BlockDevice) {
  const layer = await open(device);
  return layer.children.map(({ info, offset, size }) => ({
    number: info!.details.number,
    start: offset,
    size,
    type: info!.details.type,
    uuid: info!.details.partuuid,
    name: info!.details.name,
    flags: info!.details.attributes,
  }));
}

const SCRIPT = `label: gpt
label-id: DD27F98D-7519-4C9E-8041-F2BFA7B1EF61
size=2M, type=21686148-6449-6E6F-744E-656564454649, name="BIOS boot"
size=3M, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI äöü", attrs="LegacyBIOSBootable"
size=4M, type=E6D6D379-F507-44C2-A23C-238F2A3DF928, attrs="RequiredPartition GUID:63"
`;

describe("GPT against sfdisk, sgdisk and libblkid", () => {
  it("finds the partitions as partx and sfdisk do", async () => {
    const path = disk(16, SCRIPT);
    await withFile(path, async (device) => {
      const rows = await ours(device);
      expect(rows).toEqual(partx(path));
      expect(rows).toHaveLength(3);
      const layer = await open(device);
      const { partitiontable } = JSON.parse(run("sfdisk", "--json", path)) as { partitiontable: { id: string } };
      expect(layer.info).toMatchObject({
        kind: "gpt",
        details: { guid: partitiontable.id.toLowerCase(), sectorSize: 512, usedTable: "primary" },
        findings: [],
      });
      expect(layer.children.map((c) => c.info!.details.bootable)).toEqual([false, true, false]);
    });
  });

  it("reads and writes exactly a partition's bytes, its last block included", async () => {
    const path = disk(16, SCRIPT);
    const row = partx(path)[1]!;
    const expected = readFileSync(path);
    await withFile(
      path,
      async (device) => {
        const layer = await gptDriver.open([device], plainContext(true));
        const p2 = await layer.children[1]!.open();
        expect(p2.size).toBe(3 * MIB);
        await p2.write(new Uint8Array(p2.size).fill(0x5a), 0);
        await p2.flush();
        expect(await readBytes(p2, p2.size - 2, 2)).toEqual(Uint8Array.of(0x5a, 0x5a));
      },
      { writable: true },
    );
    expected.fill(0x5a, row.start, row.start + row.size);
    expect(Buffer.compare(readFileSync(path), expected)).toBe(0);
  });

  it("counts beyond 128 partitions, with holes in the numbering", async () => {
    const numbers = Array.from({ length: 140 }, (_, i) => i + 1).filter((n) => n % 7 !== 3);
    const path = emptyDisk(join(folder.path, "many.raw"), 32 * MIB);
    const parts = numbers.flatMap((n) => ["-n", `${n}:${n * 200}:+100`, "-c", `${n}:part ${n}`]);
    run("sgdisk", "-a", "1", "-S", "256", ...parts, path);
    await withFile(path, async (device) => {
      const rows = await ours(device);
      expect(rows).toEqual(partx(path));
      expect(rows).toHaveLength(120);
    });
  });

  it("finds a table in 4096-byte blocks whatever the device says", async () => {
    const path = emptyDisk(join(folder.path, "4k.raw"), 64 * MIB);
    feed("g\nn\n1\n\n+8M\nn\n\n\n\nw\n", "fdisk", "-b", "4096", path);
    const rows = partx(path, 4096);
    expect(rows).toHaveLength(2);
    for (const sectorSize of [512, 4096]) {
      await withFile(
        path,
        async (device) => {
          expect(await probeDevice(gptDriver, device)).not.toBeNull();
          expect(await ours(device)).toEqual(rows);
          expect((await open(device)).info.details.sectorSize).toBe(4096);
        },
        { sectorSize },
      );
    }
    const guest = disk(16, SCRIPT);
    await withFile(guest, async (device) => expect(await ours(device)).toEqual(partx(guest)), { sectorSize: 4096 });
  });

  it("falls back to the backup as libblkid does, and says so", async () => {
    for (const damage of [512, 1024]) {
      const path = disk(16, SCRIPT);
      patch(path, damage, Buffer.alloc(64, 0xff));
      await withFile(path, async (device) => {
        expect(await ours(device)).toEqual(partx(path));
        const { info } = await open(device);
        expect(info.details.usedTable).toBe("backup");
        expect(info.findings.map((f) => f.code)).toEqual(["gpt-primary-damaged"]);
      });
    }
  });

  it("reports a damaged backup, and a backup that another program left behind", async () => {
    const path = disk(16, SCRIPT);
    const old = readFileSync(path);
    run("sgdisk", "-d", "3", path);
    await withFile(path, async (device) => expect((await open(device)).info.findings).toEqual([]));
    patch(path, 16 * MIB - 33 * 512, old.subarray(16 * MIB - 33 * 512));
    await withFile(path, async (device) => {
      expect((await open(device)).info.findings.map((f) => f.code)).toEqual(["gpt-copies-differ"]);
      expect(await ours(device)).toEqual(partx(path));
    });
    patch(path, 16 * MIB - 512, new Uint8Array(512));
    await withFile(path, async (device) => {
      expect((await open(device)).info.findings.map((f) => f.code)).toEqual(["gpt-backup-damaged"]);
    });
  });

  it("knows a disk that was enlarged, and one that was cut", async () => {
    const path = disk(16, SCRIPT);
    const rows = partx(path);
    truncateSync(path, 24 * MIB);
    await withFile(path, async (device) => {
      expect(await ours(device)).toEqual(rows);
      expect((await open(device)).info.findings.map((f) => f.code)).toEqual(["gpt-backup-not-at-end"]);
    });
    truncateSync(path, 5 * MIB);
    await withFile(path, async (device) => {
      const layer = await open(device);
      expect(layer.info.findings.map((f) => f.code).sort()).toEqual(["gpt-backup-damaged", "gpt-disk-too-small"]);
      expect(layer.children.map((c) => c.unavailable !== null)).toEqual([false, true, true]);
      await expect(layer.children[2]!.open()).rejects.toMatchObject({ code: "corrupt" });
    });
  });

  it("prefers the GPT to a hybrid MBR", async () => {
    const path = disk(16, SCRIPT);
    run("sgdisk", "--hybrid", "3", path);
    await withFile(path, async (device) => {
      expect((await open(device)).info.findings.map((f) => f.code)).toEqual(["gpt-hybrid-mbr"]);
      expect(await ours(device)).toHaveLength(3);
    });
  });

  it("does not bring an old GPT back once an MBR table replaced its protective MBR", async () => {
    const path = disk(16, SCRIPT);
    const mbr = readFileSync(disk(16, "label: dos\n,4M,83\n")).subarray(0, 512);
    writeFileSync(path, Buffer.concat([mbr, readFileSync(path).subarray(512)]));
    expect(run("blkid", "-p", "-o", "value", "-s", "PTTYPE", path).trim()).toBe("dos");
    await withFile(path, async (device) => expect(await probeDevice(gptDriver, device)).toBeNull());
  });

  it("takes the names of types from the same table as sfdisk", () => {
    const rows = [...run("sfdisk", "--label", "gpt", "--list-types").matchAll(/^([0-9A-Fa-f-]{36}) {2}(.+)$/gm)];
    const known = rows.filter(([, , name]) => !name!.includes("verity"));
    expect(known.length).toBeGreaterThan(100);
    for (const [, guid, name] of known) expect(typeName(guid!.toLowerCase())).toBe(name!.trim());
  });
});
