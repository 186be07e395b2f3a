import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type BlockDevice, readBytes } from "../../src/core/device.ts";
import { openFileDevice } from "../../src/core/file-device.ts";
import type { Layer } from "../../src/core/layer.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { lvmDriver, missingRoles } from "../../src/layers/lvm/driver.ts";
import { readMember } from "../../src/layers/lvm/member.ts";
import { deviceConformance } from "../conformance/suite.ts";
import { LvmHost, type ReportedSegment, reportedSegments } from "../helpers/lvm.ts";
import { plainContext, probeDevice } from "../helpers/open-context.ts";
import { temporaryFolder } from "../helpers/programs.ts";

const MIB = 1024 * 1024;
const folder = temporaryFolder();
afterAll(() => folder.remove());

let serial = 0;
/** A name that no other volume group on this machine has. */
const vgName = () => `ubt${process.pid}n${serial++}`;

/** Opens files, gives them to `work` in the order of `paths`, and closes them. */
async function withDisks<T>(paths: readonly string[], work: (devices: BlockDevice[]) => Promise<T>, writable = false) {
  const devices = paths.map((path) => openFileDevice(path, { writable }));
  try {
    return await work(devices);
  } finally {
    for (const device of devices) await device[Symbol.asyncDispose]();
  }
}

const openGroup = (devices: BlockDevice[], writable = false) => lvmDriver.open(devices, plainContext(writable));
const codes = (layer: Layer) => layer.info.findings.map((f) => f.code);
const named = (layer: Layer, name: string) => layer.children.find((c) => c.name === name)!;

async function contentOf(layer: Layer, name: string): Promise<Buffer> {
  const device = await named(layer, name).open();
  return Buffer.from(await readBytes(device, 0, device.size));
}

/** Every 512 bytes of a disk say which disk and where: no two blocks are the same. */
function stamp(path: string, size: number, id: number): void {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 512) {
    bytes.writeUInt32LE(id, at);
    bytes.writeDoubleLE(at, at + 8);
  }
  writeFileSync(path, bytes);
}

/** What an LV holds according to LVM's own report: stripes take turns, chunk by chunk. */
function assemble(segments: readonly ReportedSegment[], extent: number, peStart: ReadonlyMap<string, number>): Buffer {
  const parts: Buffer[] = [];
  for (const { ranges, stripeSize, size } of segments) {
    const runs = ranges.map(({ path, first, last }) => {
      const base = peStart.get(path)!;
      return readFileSync(path).subarray(base + first * extent, base + (last + 1) * extent);
    });
    const chunk = runs.length > 1 ? stripeSize : size;
    for (let row = 0; row * chunk < runs[0]!.length; row++) {
      for (const run of runs) parts.push(run.subarray(row * chunk, (row + 1) * chunk));
    }
  }
  return Buffer.concat(parts);
}

describe("LVM2 against the LVM tools", () => {
  it("reads fragmented linear and striped volumes over two disks as lvs describes them", async () => {
    using host = new LvmHost(folder.path);
    const paths = ["a1", "a2"].map((name) => join(folder.path, name));
    for (const [i, path] of paths.entries()) {
      stamp(path, 24 * MIB, i + 1);
      host.attach(path);
    }
    const [a, b] = paths as [string, string];
    const vg = vgName();
    host.run("pvcreate", "-q", "-y", "--metadatacopies", "2", a);
    host.run("pvcreate", "-q", "-y", "--dataalignment", "64k", "--metadatasize", "300k", b);
    host.run("vgcreate", "-q", "-y", "-s", "512k", "--addtag", "group-tag", vg, a, b);
    host.lvcreate("-l", "5", "-n", "one", "--addtag", "x", "--addtag", "y.z", vg, a);
    host.lvcreate("-i", "2", "-I", "64k", "-l", "8", "-n", "striped", vg);
    host.lvcreate("-l", "3", "-n", "two", vg, b);
    host.run("lvextend", "-q", "-l", "+4", `${vg}/one`, b);
    host.run("lvextend", "-q", "-l", "+2", `${vg}/one`, a);
    host.run("lvextend", "-q", "-i", "2", "-l", "+4", `${vg}/striped`);
    host.run("lvremove", "-q", "-y", `${vg}/two`);
    host.run("lvextend", "-q", "-l", "+3", `${vg}/one`, `${host.loop(b)}:4-9`);
    host.lvcreate("--type", "zero", "-l", "2", "-n", "zeros", vg);
    host.lvcreate("-l", "1", "-n", "locked", "-pr", vg);

    const pvs = host.report("pvs", "pv_name,pv_uuid,pe_start,pv_pe_count,dev_size", a, b);
    const lvs = host.report("lvs", "lv_name,lv_uuid,lv_size,lv_tags,lv_layout,lv_time,lv_host", vg);
    const [vgs] = host.report("vgs", "vg_name,vg_uuid,vg_seqno,vg_extent_size,vg_tags", vg);
    const segments = reportedSegments(host, vg);
    for (const path of paths) host.detach(path);

    await withDisks([b, a], async (devices) => {
      const hits = await Promise.all(devices.map((d) => probeDevice(lvmDriver, d)));
      expect(hits.map((h) => h!.setId)).toEqual([`lvm:${vgs!.vg_uuid}`, `lvm:${vgs!.vg_uuid}`]);
      expect(hits.map((h) => h!.role).sort()).toEqual(pvs.map((p) => p.pv_uuid).sort());
      const layer = await openGroup(devices);
      expect(layer.info.findings).toEqual([]);
      expect(layer.info.details).toMatchObject({
        name: vg,
        uuid: vgs!.vg_uuid,
        seqno: Number(vgs!.vg_seqno),
        extentSize: 512 * 1024,
        tags: ["group-tag"],
      });
      const details = layer.info.details as { pvs: { uuid: string; peStart: number; peCount: number }[] };
      expect(details.pvs.map((p) => [p.uuid, p.peStart, p.peCount]).sort()).toEqual(
        pvs.map((p) => [p.pv_uuid, Number(p.pe_start), Number(p.pv_pe_count)]).sort(),
      );
      expect(
        layer.children
          .map((c) => [c.name, c.info!.details.uuid, c.size, (c.info!.details.tags as string[]).join(",")])
          .sort(),
      ).toEqual(lvs.map((l) => [l.lv_name, l.lv_uuid, Number(l.lv_size), l.lv_tags]).sort());
      expect(named(layer, "one").info!.details.layout).toBe("linear");
      expect(named(layer, "striped").info!.details.layout).toBe("striped");

      const peStart = new Map(pvs.map((p) => [p.pv_name!, Number(p.pe_start)]));
      expect(segments.get("one")!.length).toBeGreaterThan(2);
      expect(segments.get("striped")![0]!.ranges).toHaveLength(2);
      for (const name of ["one", "striped", "locked"]) {
        const expected = assemble(segments.get(name)!, 512 * 1024, peStart);
        expect(expected.length).toBe(named(layer, name).size);
        expect(Buffer.compare(await contentOf(layer, name), expected)).toBe(0);
      }
      expect((await contentOf(layer, "zeros")).every((byte) => byte === 0)).toBe(true);
      expect(named(layer, "locked").info!.details.readOnly).toMatch(/lvchange/);
    });

    // Writes land on the same places, and nowhere else.
    const peStart = new Map(pvs.map((p) => [p.pv_name!, Number(p.pe_start)]));
    const before = paths.map((path) => readFileSync(path));
    const length = Number(lvs.find((l) => l.lv_name === "striped")!.lv_size);
    const fresh = Buffer.alloc(length, 0xc3);
    await withDisks(
      paths,
      async (devices) => {
        const device = await named(await openGroup(devices, true), "striped").open();
        expect(device.caps.writable).toBe(true);
        await device.write(fresh, 0);
        await device.flush();
        expect((await named(await openGroup(devices, true), "locked").open()).caps.writable).toBe(false);
      },
      true,
    );
    expect(Buffer.compare(assemble(segments.get("striped")!, 512 * 1024, peStart), fresh)).toBe(0);
    const changed = paths.map((path, i) =>
      readFileSync(path).reduce((n, byte, at) => n + Number(byte !== before[i]![at]), 0),
    );
    expect(changed[0]! + changed[1]!).toBeLessThanOrEqual(length);
  });

  it("reads metadata that wraps around its ring buffer", async () => {
    using host = new LvmHost(folder.path);
    const a = host.disk("ring", 4 * MIB);
    const vg = vgName();
    host.run("pvcreate", "-q", "-y", "--dataalignment", "4k", "--metadatasize", "32k", a);
    host.run("vgcreate", "-q", "-y", "-s", "512k", vg, a);
    // Names of different lengths, so that the texts do not happen to fill the ring exactly.
    const lvName = (i: number) => `lv${i}${"x".repeat((i * 37) % 100)}`;
    host.lvcreate("-l", "1", "-n", lvName(0), vg);
    let wrapped = false;
    for (let i = 0; i < 80 && !wrapped; i++) {
      host.run("lvrename", "-q", vg, lvName(i), lvName(i + 1));
      const bytes = readFileSync(host.loop(a));
      const result = await readMember(async (offset, length) => bytes.subarray(offset, offset + length));
      wrapped = result.kind === "member" && result.member.texts[0]!.runs.length === 2;
    }
    expect(wrapped).toBe(true);
    const [row] = host.report("vgs", "vg_uuid,vg_seqno", vg);
    const [lv] = host.report("lvs", "lv_name", vg);
    host.detach(a);
    await withDisks([a], async (devices) => {
      expect((await probeDevice(lvmDriver, devices[0]!))!.setId).toBe(`lvm:${row!.vg_uuid}`);
      const layer = await openGroup(devices);
      expect(layer.info.details.seqno).toBe(Number(row!.vg_seqno));
      expect(layer.children.map((c) => c.name)).toEqual([lv!.lv_name]);
    });
  });

  it("keeps to the newest metadata, and says what is old, missing, removed or there twice", async () => {
    using host = new LvmHost(folder.path);
    const [a, b] = [host.disk("n1", 8 * MIB), host.disk("n2", 8 * MIB)] as const;
    const vg = vgName();
    host.run("vgcreate", "-q", "-y", "-s", "512k", vg, a, b);
    host.lvcreate("-l", "2", "-n", "on_a", vg, a);
    host.lvcreate("-l", "2", "-n", "on_b", vg, b);
    host.detach(a);
    host.detach(b);
    const [oldA, oldB] = [`${a}.old`, `${b}.old`] as const;
    copyFileSync(a, oldA);
    copyFileSync(b, oldB);
    host.attach(a);
    host.attach(b);
    host.lvcreate("-l", "1", "-n", "later", vg, a);
    host.detach(a);
    host.detach(b);

    await withDisks([oldA, b], async (devices) => {
      const layer = await openGroup(devices);
      expect(codes(layer)).toEqual(["lvm-metadata-stale"]);
      expect(layer.children.map((c) => c.name)).toContain("later");
    });
    await withDisks([a], async (devices) => {
      const layer = await openGroup(devices);
      expect(codes(layer)).toEqual(["lvm-pv-missing"]);
      expect(named(layer, "on_a").unavailable).toBeNull();
      expect(named(layer, "on_b").unavailable).toMatch(/^physical volume [\w-]{38} \(pv1\) is missing$/);
      await expect(named(layer, "on_b").open()).rejects.toMatchObject({ code: "io" });
    });
    await withDisks([a, b, oldB], async (devices) => {
      const layer = await openGroup(devices);
      expect(codes(layer)).toEqual(["lvm-pv-duplicate"]);
      expect(named(layer, "on_b").unavailable).toMatch(/is there 2 times/);
      expect(named(layer, "on_a").unavailable).toBeNull();
    });

    host.attach(a);
    host.attach(b);
    host.run("lvremove", "-q", "-y", `${vg}/on_b`);
    host.run("vgreduce", "-q", vg, b);
    host.run("vgexport", "-q", vg);
    host.detach(a);
    host.detach(b);
    await withDisks([a, oldB], async (devices) => {
      expect(codes(await openGroup(devices)).sort()).toEqual([
        "lvm-metadata-stale",
        "lvm-pv-removed",
        "lvm-vg-exported",
      ]);
    });
    await withDisks([b], async (devices) => {
      const hit = await probeDevice(lvmDriver, devices[0]!);
      expect(hit).toMatchObject({
        setId: `lvm-orphan:${hit!.role}`,
        member: { kind: "lvm-pv", details: { used: false } },
      });
      expect(await openGroup(devices)).toMatchObject({ children: [], locked: null });
    });
  });

  it("finds the group of disks that have no metadata of their own", async () => {
    using host = new LvmHost(folder.path);
    const paths = [host.disk("m1", 8 * MIB), host.disk("m2", 8 * MIB), host.disk("m3", 8 * MIB)];
    const [a, b, c] = paths as [string, string, string];
    const vg = vgName();
    host.run("pvcreate", "-q", "-y", "--metadatacopies", "0", b);
    host.run("vgcreate", "-q", "-y", "-s", "512k", vg, a, b, c);
    host.run("pvchange", "-q", "-y", "--metadataignore", "y", c);
    host.lvcreate("-i", "3", "-l", "9", "-n", "wide", vg);
    const rows = host.report("pvs", "pv_name,pv_uuid", ...paths);
    for (const path of paths) host.detach(path);
    const uuid = (path: string) => rows.find((r) => r.pv_name === path)!.pv_uuid!;
    await withDisks(paths, async (devices) => {
      const hits = await Promise.all(devices.map((d) => probeDevice(lvmDriver, d)));
      expect(hits[0]!.setId).toMatch(/^lvm:/);
      expect(hits.slice(1).map((h) => h!.setId)).toEqual([`lvm-orphan:${uuid(b)}`, `lvm-orphan:${uuid(c)}`]);
      expect((await missingRoles(devices.slice(0, 1), plainContext())).sort()).toEqual([uuid(b), uuid(c)].sort());
      expect(await missingRoles(devices, plainContext())).toEqual([]);
      expect(named(await openGroup(devices), "wide").unavailable).toBeNull();
      expect((await openGroup(devices.slice(1, 2))).locked).toMatchObject({ code: "unsupported" });
    });
  });

  it("refuses by name what a kernel has not begun, and never shows a store in place of a snapshot", async () => {
    using host = new LvmHost(folder.path);
    const path = host.disk("refused", 8 * MIB);
    const vg = vgName();
    host.run("vgcreate", "-q", "-y", "-s", "512k", vg, path);
    for (const name of ["root", "before", "xdata", "xmeta"]) host.lvcreate("-l", "2", "-n", name, vg);
    const backup = join(folder.path, "refused.vg");
    host.run("vgcfgbackup", "-f", backup, vg);
    const lv = (name: string, id: string, extents: number, visible: boolean, segment: string) => `
      ${name} { id = "${id}" status = ["READ", "WRITE"${visible ? ', "VISIBLE"' : ""}] segment_count = 1
        segment1 { start_extent = 0 extent_count = ${extents} ${segment} } }`;
    const id = (n: number) => `00000${n}-0000-0000-0000-0000-0000-000000`;
    const added = [
      lv("snapshot0", id(1), 2, true, 'type = "snapshot" chunk_size = 8 origin = "root" cow_store = "before"'),
      lv(
        "pool",
        id(2),
        2,
        true,
        'type = "thin-pool" metadata = "pool_tmeta" pool = "pool_tdata" transaction_id = 1 chunk_size = 128 discards = "passdown" zero_new_blocks = 1',
      ),
      lv("thin", id(3), 8, true, 'type = "thin" thin_pool = "pool" transaction_id = 0 device_id = 1'),
    ].join("\n");
    const hidden = readFileSync(backup, "utf8")
      .replace(/(logical_volumes \{)/, (start) => `${start}${added}`)
      .replace(/((?:before|xdata|xmeta) \{[^}]*?"WRITE"), "VISIBLE"/g, "$1")
      .replace(/x(data|meta) \{/g, "pool_t$1 {");
    writeFileSync(backup, hidden);
    host.run("vgcfgrestore", "-q", "--force", "-y", "-f", backup, vg);
    const rows = host.report("lvs", "lv_name,lv_size,lv_attr", "-a", vg);
    host.detach(path);
    await withDisks(
      [path],
      async (devices) => {
        const layer = await openGroup(devices, true);
        // Hidden LVs stand in brackets.
        const reported = rows.map((r) => [r.lv_name!.replace(/[[\]]/g, ""), !r.lv_name!.startsWith("[")] as const);
        expect(layer.children.map((c) => c.name).sort()).toEqual(reported.map(([name]) => name).sort());
        const shown = layer.children.filter((c) => c.info!.details.role !== "internal").map((c) => c.name);
        expect(shown.sort()).toEqual(
          reported
            .filter(([, visible]) => visible)
            .map(([name]) => name)
            .sort(),
        );
        expect(Object.fromEntries(layer.children.map((c) => [c.name, c.unavailable]))).toEqual({
          root: null,
          // A store that no kernel has written to: the snapshot equals its origin.
          before: null,
          pool: expect.stringMatching(/the checksum of thin pool superblock 0 is wrong/),
          thin: expect.stringMatching(/the checksum of thin pool superblock 0 is wrong/),
          pool_tdata: null,
          pool_tmeta: null,
        });
        expect(Buffer.compare(await contentOf(layer, "before"), await contentOf(layer, "root"))).toBe(0);
        await expect(named(layer, "thin").open()).rejects.toMatchObject({ code: "corrupt" });
        await expect(named(layer, "pool").open()).rejects.toMatchObject({ code: "corrupt" });
        expect((await named(layer, "root").open()).caps.writable).toBe(false);
        expect((await named(layer, "pool_tdata").open()).caps.writable).toBe(false);
        expect(named(layer, "pool").hasContent).toBe(false);
      },
      true,
    );
  });

  it("tells two groups of one name apart, and survives a damaged metadata area", async () => {
    using host = new LvmHost(folder.path);
    const vg = vgName();
    const sets: string[] = [];
    for (const name of ["s1", "s2"]) {
      const path = host.disk(name, 8 * MIB);
      host.run("pvcreate", "-q", "-y", "--metadatacopies", "2", path);
      host.run("vgcreate", "-q", "-y", "-s", "512k", vg, path);
      host.lvcreate("-l", "2", "-n", "root", vg);
      host.detach(path);
      await withDisks([path], async ([device]) => sets.push((await probeDevice(lvmDriver, device!))!.setId!));
    }
    expect(new Set(sets).size).toBe(2);
    const path = join(folder.path, "s1");
    const fd = openSync(path, "r+");
    writeSync(fd, Uint8Array.of(0xff), 0, 1, 4096 + 100);
    closeSync(fd);
    await withDisks([path], async (devices) => {
      const hit = await probeDevice(lvmDriver, devices[0]!);
      expect(hit!.setId).toBe(sets[0]);
      expect(hit!.member!.findings.map((f) => f.code)).toEqual(["lvm-metadata-damaged"]);
      const layer = await openGroup(devices);
      expect(codes(layer)).toEqual(["lvm-metadata-damaged"]);
      expect(named(layer, "root").unavailable).toBeNull();
    });
  });
});

deviceConformance(
  "a striped logical volume",
  async () => {
    const host = new LvmHost(folder.path);
    const name = vgName();
    const paths = ["c1", "c2", "c3"].map((disk) => host.disk(`${name}${disk}`, 2 * MIB));
    host.run("vgcreate", "-q", "-y", "-s", "64k", name, ...paths);
    host.lvcreate("-i", "3", "-I", "4k", "-l", "6", "-n", "lv", name);
    host.run("lvextend", "-q", "-i", "1", "-l", "+1", `${name}/lv`);
    host[Symbol.dispose]();
    const devices = paths.map((path) => memoryDevice(readFileSync(path)));
    const layer = await lvmDriver.open(devices, plainContext(true));
    const open = () => layer.children[0]!.open();
    const device = await open();
    const content = Uint8Array.from({ length: 7 * 65536 }, (_, i) => (i * 131) % 251);
    await device.write(content, 0);
    return { device, content, reopen: open };
  },
  { runs: 30 },
);
