import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceConformance } from "../../../test/conformance/suite.ts";
import { plainContext, probeDevice } from "../../../test/helpers/open-context.ts";
import { memoryDevice } from "../../core/memory-device.ts";
import { mbrDriver } from "./driver.ts";

type Record = readonly [type: number, start: number, sectors: number, indicator?: number];

/** A boot record with up to four partition records. */
function bootRecord(records: readonly Record[], diskId = 0xcafe): Uint8Array {
  const sector = Buffer.alloc(512);
  sector.writeUInt32LE(diskId, 440);
  for (const [i, [type, start, sectors, indicator]] of records.entries()) {
    const at = 446 + i * 16;
    sector[at] = indicator ?? 0;
    sector[at + 4] = type;
    sector.writeUInt32LE(start, at + 8);
    sector.writeUInt32LE(sectors, at + 12);
  }
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** A disk of 2048 sectors with boot records at the given sectors. */
function disk(records: { readonly [sector: number]: readonly Record[] }) {
  const bytes = new Uint8Array(2048 * 512);
  for (const [sector, list] of Object.entries(records)) bytes.set(bootRecord(list), Number(sector) * 512);
  return memoryDevice(bytes);
}

async function summary(device: ReturnType<typeof disk>, limits = {}) {
  const layer = await mbrDriver.open([device], plainContext(false, limits));
  return {
    names: layer.children.map((c) => `${c.name}:${c.offset! / 512}+${c.size / 512}`),
    findings: layer.info.findings.map((f) => f.code),
  };
}

describe("chains of logical partitions", () => {
  it("counts data records from their boot record and links from the extended partition", async () => {
    const device = disk({
      0: [
        [0x83, 1, 9],
        [0x05, 100, 900],
      ],
      100: [
        [0x83, 10, 40],
        [0x05, 200, 100],
      ],
      300: [
        [0x82, 2, 98],
        [0x0f, 500, 100],
      ],
      600: [[0x83, 1, 99]],
    });
    expect(await summary(device)).toEqual({
      names: ["p1:1+9", "p2:100+900", "p5:110+40", "p6:302+98", "p7:601+99"],
      findings: [],
    });
  });

  const PRIMARY: readonly Record[] = [
    [0x83, 1, 9],
    [0x85, 100, 900],
  ];
  const FIRST: Record = [0x83, 10, 40];
  const cases: readonly (readonly [string, Parameters<typeof disk>[0], string, number])[] = [
    ["a link to itself", { 0: PRIMARY, 100: [FIRST, [0x05, 0, 100]] }, "mbr-ebr-loop", 1],
    [
      "a link backwards",
      { 0: PRIMARY, 100: [FIRST, [0x05, 300, 50]], 400: [FIRST, [0x05, 200, 50]] },
      "mbr-ebr-loop",
      2,
    ],
    ["a link out of the extended partition", { 0: PRIMARY, 100: [FIRST, [0x05, 900, 50]] }, "mbr-ebr-outside", 1],
    ["a link far beyond the disk", { 0: PRIMARY, 100: [FIRST, [0x05, 0xffffffff, 50]] }, "mbr-ebr-outside", 1],
    ["a link to something else", { 0: PRIMARY, 100: [FIRST, [0x05, 300, 50]] }, "mbr-ebr-missing", 1],
    ["no boot record at all", { 0: PRIMARY }, "mbr-ebr-missing", 0],
    [
      "an extended partition at sector 0",
      {
        0: [
          [0x83, 1, 9],
          [0x05, 0, 900],
        ],
      },
      "mbr-ebr-start",
      0,
    ],
    ["a logical partition outside", { 0: PRIMARY, 100: [[0x83, 10, 1000]] }, "mbr-logical-outside", 1],
    ["a logical partition over its own boot record", { 0: PRIMARY, 100: [[0x83, 0, 10]] }, "mbr-logical-outside", 1],
  ];
  for (const [name, content, code, logical] of cases) {
    it(`ends at ${name}, and keeps what came before`, async () => {
      const { names, findings } = await summary(disk(content));
      expect(findings).toEqual([code]);
      expect(names).toHaveLength(2 + logical);
      expect(names[0]).toBe("p1:1+9");
    });
  }

  function longChain(length: number, data: boolean): Parameters<typeof disk>[0] {
    const records: { [sector: number]: readonly Record[] } = { 0: [[0x05, 1, 2047]] };
    for (let i = 0; i < length; i++) {
      const link: Record = [0x05, (i + 1) * 4, 4];
      records[1 + i * 4] = data ? [[0x83, 1, 2], link] : [link];
    }
    return records;
  }

  it("follows a long chain when the limit is raised, and names the flag otherwise", async () => {
    const device = disk(longChain(300, true));
    expect((await summary(device, { logicalPartitions: 1000 })).names).toHaveLength(301);
    const layer = await mbrDriver.open([device], plainContext());
    expect(layer.children).toHaveLength(256);
    expect(layer.info.findings[0]!.message).toContain("--limit logicalPartitions=");
  });

  it("stops at the limit of logical partitions", async () => {
    const { names, findings } = await summary(disk(longChain(300, true)), { logicalPartitions: 20 });
    expect(findings).toEqual(["mbr-logical-limit"]);
    expect(names).toHaveLength(21);
  });

  it("stops after 100 boot records without a partition", async () => {
    expect((await summary(disk(longChain(300, false)))).findings).toEqual(["mbr-ebr-empty"]);
  });
});

describe("records that contradict each other or the disk", () => {
  it("reports partitions that share sectors, but not an extended one with its logical ones", async () => {
    const device = disk({
      0: [
        [0x83, 10, 100],
        [0x83, 50, 10],
        [0x83, 105, 10],
        [0x05, 200, 100],
      ],
      200: [[0x83, 1, 50]],
    });
    expect((await summary(device)).findings).toEqual(["mbr-overlap", "mbr-overlap"]);
  });

  it("does not look into a partition that begins at sector 0", async () => {
    const device = disk({ 0: [[0x17, 0, 2048, 0x80]] });
    expect(await probeDevice(mbrDriver, device)).not.toBeNull();
    const layer = await mbrDriver.open([device], plainContext());
    expect(layer.children.map((c) => c.hasContent)).toEqual([false]);
  });

  it("keeps numbers that do not fit into 31 bits", async () => {
    const layer = await mbrDriver.open([disk({ 0: [[0x83, 0xfffffff0, 0xffffffff]] })], plainContext());
    expect(layer.children[0]).toMatchObject({ offset: 0xfffffff0 * 512, size: 0xffffffff * 512 });
    expect(layer.children[0]!.unavailable).toMatch(/beyond the end/);
  });

  it("is corrupt without its signature", async () => {
    await expect(mbrDriver.open([memoryDevice(new Uint8Array(1024))], plainContext())).rejects.toMatchObject({
      code: "corrupt",
      layer: "mbr",
    });
  });
});

describe("MBR probe", () => {
  const probe = (bytes: Uint8Array) => {
    const image = new Uint8Array(1024 * 1024);
    image.set(bytes);
    return probeDevice(mbrDriver, memoryDevice(image));
  };

  it("refuses boot code where the boot indicators should be", async () => {
    expect(await probe(bootRecord([[0x83, 1, 9]]))).not.toBeNull();
    expect(await probe(bootRecord([[0x83, 1, 9, 0x81]]))).toBeNull();
    expect(
      await probe(
        bootRecord([
          [0x83, 1, 9],
          [0, 0, 0, 0x65],
        ]),
      ),
    ).toBeNull();
  });

  it("refuses records that all lie beyond the disk", async () => {
    expect(await probe(bootRecord([[0x83, 2048, 9]]))).toBeNull();
  });

  for (const name of ["NTFS    ", "EXFAT   ", "-FVE-FS-"]) {
    it(`refuses a boot sector of ${name.trim()}`, async () => {
      const sector = bootRecord([[0x83, 1, 9]]);
      sector.set(Buffer.from(name), 3);
      expect(await probe(sector)).toBeNull();
    });
  }

  it("is null on a device shorter than a sector", async () => {
    expect(await probeDevice(mbrDriver, memoryDevice(new Uint8Array(100)))).toBeNull();
  });

  it("opens or refuses whatever it recognises, for any bytes", async () => {
    const word = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 0xffffffff }));
    const record = fc.tuple(fc.constantFrom(0, 5, 15, 0x83, 0x85, 0xee), word, word);
    const sectors = fc.dictionary(fc.integer({ min: 0, max: 300 }).map(String), fc.array(record, { maxLength: 4 }));
    await fc.assert(
      fc.asyncProperty(sectors, async (content) => {
        const device = disk(content);
        if (!(await probeDevice(mbrDriver, device))) return;
        const layer = await mbrDriver.open([device], plainContext());
        for (const child of layer.children) {
          if (child.unavailable !== null) continue;
          const part = await child.open();
          await part.read(new Uint8Array(Math.min(16, part.size)), Math.max(0, part.size - 16));
        }
      }),
      { numRuns: 60 },
    );
  });
});

deviceConformance(
  "a partition",
  async () => {
    const content = Uint8Array.from({ length: 300 * 512 }, (_, i) => (i * 31) & 0xff);
    const device = disk({ 0: [[0x83, 7, 300]] });
    await device.write(content, 7 * 512);
    const layer = await mbrDriver.open([device], plainContext(true));
    const open = () => layer.children[0]!.open();
    return { device: await open(), content, reopen: open };
  },
  { runs: 30 },
);
