import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { deviceConformance } from "../../../test/conformance/suite.ts";
import { fixtureDevices, fixtureText, lvmFixture } from "../../../test/helpers/lvm-fixture.ts";
import { plainContext } from "../../../test/helpers/open-context.ts";
import { parseThinDump } from "../../../test/helpers/thin-dump.ts";
import { crc32cRaw } from "../../bytes/crc.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import { StorageError } from "../../core/errors.ts";
import type { Layer } from "../../core/layer.ts";
import { lvmDriver } from "./driver.ts";
import { KINDS } from "./persistent-data/blocks.ts";

const BLOCK = 64 * 1024;
const DUMP = parseThinDump(fixtureText("thin", "thin_dump.xml"));
/** Device ids of the volumes, from the group's metadata. */
const IDS = { thin1: 1, snap1: 2, snap2: 3, huge: 4, empty: 5, solo: 6, onext: 7 } as const;
const deviceOf = (name: keyof typeof IDS) => DUMP.find((d) => d.id === IDS[name])!;

const fixture = lvmFixture("thin");
const open = (devices: BlockDevice[], writable = true) => lvmDriver.open(devices, plainContext(writable));
const fresh = () =>
  fixtureDevices({ ...fixture, disks: new Map([...fixture.disks].map(([n, b]) => [n, Uint8Array.from(b)])) });
const named = (layer: Layer, name: string) => layer.children.find((c) => c.name === name)!;

async function sha(device: BlockDevice): Promise<string> {
  const hash = createHash("sha256");
  const step = 8 * 1024 * 1024;
  for (let at = 0; at < device.size; at += step)
    hash.update(await readBytes(device, at, Math.min(step, device.size - at)));
  return hash.digest("hex");
}

describe("thin volumes made by a kernel", () => {
  it("reads volumes, snapshots of snapshots and one on an external origin", async () => {
    const layer = await open(fresh());
    expect(layer.info.findings).toEqual([]);
    expect(fixture.volumes.map((v) => v.name).sort()).toEqual(Object.keys(IDS).sort());
    for (const { name, size, sha256 } of fixture.volumes) {
      const device = await named(layer, name).open();
      expect([name, device.size]).toEqual([name, size]);
      // A gigabyte of zeros says little that `extents` does not.
      if (size < 1e8) expect([name, await sha(device)]).toEqual([name, sha256]);
      else expect((await readBytes(device, 1_500_000 * 512, 8)).join()).toBe("5,0,0,0,96,227,22,0");
    }
    expect(named(layer, "pool").hasContent).toBe(false);
  });

  it("knows what is provisioned as thin_dump does", async () => {
    const layer = await open(fresh());
    for (const name of ["thin1", "snap1", "snap2", "huge", "empty", "solo"] as const) {
      const device = await named(layer, name).open();
      const data: number[] = [];
      let at = 0;
      for await (const e of device.extents(0, device.size)) {
        expect(e.offset).toBe(at);
        at += e.length;
        if (e.kind === "data") for (let b = e.offset; b < e.offset + e.length; b += BLOCK) data.push(b / BLOCK);
      }
      expect(at).toBe(device.size);
      expect([name, data]).toEqual([name, deviceOf(name).blocks.map((b) => b.origin)]);
    }
  });

  it("writes to blocks that no other device uses, into the place that thin_dump names, and refuses all others", async () => {
    const devices = fresh();
    const layer = await open(devices);
    const pool = await named(layer, "pool_tdata").open();
    const users = (data: number) => DUMP.filter((d) => d.blocks.some((b) => b.data === data)).length;
    let written = 0;
    for (const name of ["thin1", "snap1", "snap2", "solo", "huge"] as const) {
      const { blocks } = deviceOf(name);
      const device = await named(layer, name).open();
      expect(device.caps.writable).toBe(true);
      for (const { origin, data } of blocks) {
        const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7 + origin) & 0xff);
        const before = await readBytes(pool, data * BLOCK + 512, 4096);
        const work = device.write(bytes, origin * BLOCK + 512);
        if (users(data) > 1) {
          await expect(work).rejects.toMatchObject({ code: "unsupported", feature: "thin provisioning" });
          expect(Buffer.compare(await readBytes(pool, data * BLOCK + 512, 4096), before)).toBe(0);
        } else {
          await work;
          written++;
          expect(Buffer.compare(await readBytes(pool, data * BLOCK + 512, 4096), bytes)).toBe(0);
          await device.write(before, origin * BLOCK + 512);
        }
      }
    }
    // All of `solo`, whose snapshot was removed, among them.
    expect(written).toBeGreaterThan(40);
    // All was put back: nothing else was touched.
    const now = [...fixture.disks.values()];
    for (const [i, device] of devices.entries()) {
      expect(Buffer.compare(await readBytes(device, 0, device.size), now[i]!)).toBe(0);
    }
  });

  it("refuses a request that begins in its own block and ends in none, before it writes anything", async () => {
    const layer = await open(fresh());
    const device = await named(layer, "huge").open();
    const { origin } = deviceOf("huge").blocks.at(-1)!;
    const at = (origin + 1) * BLOCK - 512;
    const before = await readBytes(device, at, 512);
    await expect(device.write(new Uint8Array(1024).fill(9), at)).rejects.toMatchObject({ code: "unsupported" });
    expect(Buffer.compare(await readBytes(device, at, 512), before)).toBe(0);
    // Zeros where nothing is provisioned are there already.
    await device.zero(at + 512, 10 * BLOCK);
    await expect((await named(layer, "onext").open()).zero(0, 512)).rejects.toMatchObject({ code: "unsupported" });
  });
});

/** Blocks of the pool's metadata as they lie on the second disk, with the salt of each. */
const META_AT = 192 * 1024;
const META_BLOCKS = 512;

function saltOf(block: Uint8Array): number | null {
  const dv = new DataView(block.buffer, block.byteOffset, block.length);
  const salt = (dv.getUint32(0, true) ^ crc32cRaw(block.subarray(4), 0xffffffff)) >>> 0;
  return Object.values(KINDS).some((k) => k.salt === salt) ? salt : null;
}

/** Changes metadata block `n`, puts its checksum right, opens the group for `work`, and puts the block back. */
async function withChanged<T>(
  n: number,
  change: (block: DataView) => void,
  work: (layer: Layer) => Promise<T>,
): Promise<T> {
  const block = fixture.disks.get("pb")!.subarray(META_AT + n * 4096, META_AT + (n + 1) * 4096);
  const before = Uint8Array.from(block);
  const salt = saltOf(block)!;
  const dv = new DataView(block.buffer, block.byteOffset, 4096);
  change(dv);
  dv.setUint32(0, (crc32cRaw(block.subarray(4), 0xffffffff) ^ salt) >>> 0, true);
  try {
    return await work(await open(fixtureDevices(fixture)));
  } finally {
    block.set(before);
  }
}

describe("thin pools that lie", () => {
  it("finds the metadata where the test looks for it", () => {
    expect(saltOf(fixture.disks.get("pb")!.subarray(META_AT, META_AT + 4096))).toBe(KINDS.thinSuperblock.salt);
  });

  const superblock: readonly (readonly [string, (b: DataView) => void, object])[] = [
    ["another magic", (b) => b.setUint32(32, 1, true), { code: "corrupt" }],
    ["another place", (b) => b.setUint32(8, 1, true), { code: "corrupt" }],
    ["version 3", (b) => b.setUint32(40, 3, true), { code: "unsupported", feature: "thin pool version" }],
    [
      "another transaction",
      (b) => b.setUint32(48, 99, true),
      { code: "unsupported", feature: "thin pool transaction" },
    ],
    ["incompatible features", (b) => b.setUint32(360, 4, true), { code: "unsupported", feature: "thin pool features" }],
    ["another block size", (b) => b.setUint32(336, 256, true), { code: "corrupt" }],
    ["a root beyond the end", (b) => b.setUint32(320, 1 << 30, true), { code: "corrupt" }],
    ["a root beyond 2^53", (b) => b.setUint32(324, 1 << 30, true), { code: "corrupt" }],
    ["a root that is another kind of block", (b) => b.setUint32(320, 0, true), { code: "corrupt" }],
    ["more metadata than there is", (b) => b.setUint32(344, 1 << 30, true), { code: "corrupt" }],
  ];
  for (const [name, change, error] of superblock) {
    it(`refuses all its volumes with ${name} in the superblock, and leaves the others usable`, async () => {
      await withChanged(0, change, async (layer) => {
        expect(named(layer, "ext").unavailable).toBeNull();
        expect(named(layer, "thin1").unavailable).not.toBeNull();
        await expect(named(layer, "thin1").open()).rejects.toMatchObject({ ...error, layer: "lvm" });
      });
    });
  }

  it("reads a pool that needs a check, says so, and writes nothing", async () => {
    await withChanged(
      0,
      (b) => b.setUint32(4, 1, true),
      async (layer) => {
        for (const name of ["pool", "thin1"]) {
          expect(named(layer, name).info!.findings.map((f) => f.code)).toEqual(["lvm-thin-needs-check"]);
        }
        const device = await named(layer, "thin1").open();
        expect(device.caps.writable).toBe(false);
        expect(await sha(device)).toBe(fixture.volumes.find((v) => v.name === "thin1")!.sha256);
      },
    );
  });

  it("gives right bytes or a StorageError for any change of any metadata block", async () => {
    const disk = fixture.disks.get("pb")!;
    const used = Array.from({ length: META_BLOCKS }, (_, n) => n).filter(
      (n) => saltOf(disk.subarray(META_AT + n * 4096, META_AT + (n + 1) * 4096)) === KINDS.node.salt,
    );
    expect(used.length).toBeGreaterThan(20);
    let seed = 20261124;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * below);
    };
    const codes = new Set<string>();
    for (let round = 0; round < 40; round++) {
      const n = used[random(used.length)]!;
      try {
        const change = (b: DataView) => {
          for (let i = 0; i < 3; i++) b.setUint8(random(2) === 0 ? random(64) : random(4096), random(256));
        };
        await withChanged(n, change, async (layer) => {
          for (const child of layer.children) {
            if (child.unavailable !== null) codes.add("refused");
            if (child.unavailable !== null || !child.hasContent || child.size > 1e8) continue;
            const device = await child.open();
            for await (const e of device.extents(0, device.size)) await readBytes(device, e.offset, 1);
          }
        });
        codes.add("read");
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        codes.add(error.code);
      }
    }
    expect(codes).toContain("read");
    expect(codes.size).toBeGreaterThan(1);
    for (const code of codes) expect(["read", "refused", "corrupt"]).toContain(code);
  });
});

deviceConformance(
  "a thin volume, read-only",
  async () => {
    const layer = await open(fresh(), false);
    const device = await named(layer, "snap2").open();
    return { device, content: await readBytes(device, 0, device.size) };
  },
  { runs: 5 },
);
