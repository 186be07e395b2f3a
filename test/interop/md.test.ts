import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readBytes } from "../../src/core/device.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { memoryDevice } from "../../src/core/memory-device.ts";
import { mdDriver } from "../../src/layers/md/driver.ts";
import { PathGate } from "../../src/stack/gate.ts";
import { openStack } from "../../src/stack/resolver.ts";
import { findVolume } from "../../src/stack/selectors.ts";
import { MD_TRUTH, mdDevices, mdMembers } from "../helpers/md.ts";
import { plainContext, probeDevice } from "../helpers/open-context.ts";
import { blkid, run, temporaryFolder } from "../helpers/programs.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** `key : value` lines of `mdadm --examine`. */
function examine(bytes: Uint8Array): Map<string, string> {
  const path = join(folder.path, "member");
  writeFileSync(path, bytes);
  // A file is no block device: mdadm says so on its standard error, and examines it.
  const out = run("mdadm", "--examine", path);
  return new Map(
    out.split("\n").flatMap((line) => {
      const [key, ...value] = line.split(" : ");
      return value.length > 0 ? [[key!.trim(), value.join(" : ").trim()] as const] : [];
    }),
  );
}

describe("members, against mdadm and blkid", () => {
  it("names them as blkid does", async () => {
    // blkid looks for members on devices above 1.44 MB only. The superblock of 0.90 counts from the end.
    const old = mdMembers("raid1-090")[0]!;
    const grown = new Uint8Array(2 * 1024 * 1024);
    grown.set(old.subarray(old.length - 65536), grown.length - 65536);
    for (const bytes of [grown, mdMembers("gpt-raid1")[0]!, mdMembers("lvm-raid1")[1]!]) {
      const path = join(folder.path, "member");
      writeFileSync(path, bytes);
      const told = blkid(path);
      const { type, uuid, label } = (await probeDevice(mdDriver, memoryDevice(bytes)))!.member!.details;
      expect({ type, uuid, label }).toEqual({ type: told!.type, uuid: told!.uuid, label: told!.label });
    }
  });

  it.each([
    "linear",
    "raid0-original",
    "raid1-090",
    "raid1-10",
    "raid1-11",
    "raid5-parity-first",
    "raid6-ddf-N-restart",
    "raid10-f2-odd",
    "raid10-o2",
  ])("%s", async (name) => {
    const bytes = mdMembers(name)[1]!;
    const told = examine(bytes);
    const hit = await probeDevice(mdDriver, memoryDevice(bytes));
    const d = hit!.member!.details;
    const layer = await mdDriver.open(mdDevices(mdMembers(name)), plainContext());
    const a = layer.info.details;
    expect(a.mdadmUuid).toBe(told.get("Array UUID") ?? told.get("UUID")!.split(" ")[0]);
    expect(a.level).toBe(told.get("Raid Level"));
    expect(d.events).toBe(Number(told.get("Events")!.replace(/^0\./, "")));
    expect(a.layout).toBe(told.get("Layout")?.replace(/^-unknown-$/, "") ?? null);
    if (told.has("Device Role")) expect(`Active device ${d.role}`).toBe(told.get("Device Role"));
  });

  it("accepts the superblocks that a write to a degraded array leaves", async () => {
    for (const name of ["stale-raid1", "stale-raid6"]) {
      const members = mdMembers(name);
      const before = Number(examine(members[0]!).get("Events"));
      const layer = await mdDriver.open(mdDevices(members), plainContext(true));
      const array = await layer.children[0]!.open();
      await array.write(new Uint8Array(100).fill(1), 0);
      for (const [i, bytes] of members.entries()) {
        const told = examine(bytes);
        expect(told.get("Checksum")).toMatch(/ - correct$/);
        if (i !== 1) expect(Number(told.get("Events"))).toBe(before + 2);
        expect(told.get("State")).toBe("clean");
      }
    }
  });
});

describe("what lies in an array", () => {
  const treeOf = async (name: string) => {
    const members = mdMembers(name);
    return openStack(
      members.map((bytes, i) => ({
        name: `m${i}.raw`,
        kind: "file",
        path: `/m${i}.raw`,
        device: memoryDevice(bytes),
        format: null,
        details: {},
      })),
      {
        writable: false,
        keys: { secretsFor: async () => [] },
        limits: DEFAULT_LIMITS,
        gate: new PathGate([]),
        openFile: async () => Promise.reject(new Error("nothing names a file here")),
      },
    );
  };

  it("a file system", async () => {
    await using stack = await treeOf("ext4-raid5");
    const { tree } = stack;
    expect(tree.groups.map((g) => [g.kind, g.selector, g.size, g.details.members])).toEqual([
      ["md", "md/ext4-raid5", MD_TRUTH["ext4-raid5"]!.size, ["disk1/raw/md", "disk2/raw/md", "disk3/raw/md"]],
    ]);
    expect(tree.volumes.map((v) => [v.selector, v.type, v.label, v.readable])).toEqual([
      ["md/ext4-raid5", "ext4", "onraid", true],
    ]);
    const { device } = findVolume(tree, "/dev/md/ext4-raid5");
    const path = join(folder.path, "content");
    writeFileSync(path, await readBytes(device!, 0, device!.size));
    expect(run("debugfs", "-R", "cat /MARKER.txt", path)).toBe("on raid5\n");
  });

  it("partitions that a member with metadata at its end seems to have itself", async () => {
    await using stack = await treeOf("gpt-raid1");
    expect(stack.tree.roots.flatMap((r) => r.children[0]!.children.map((c) => c.kind))).toEqual([
      "md-member",
      "md-member",
    ]);
    expect(stack.tree.volumes.map((v) => [v.selector, v.type, v.label])).toEqual([
      ["md/gpt-raid1:p1", null, null],
      ["md/gpt-raid1:p2", "ext2", "second"],
    ]);
  });

  it("a volume group", async () => {
    await using stack = await treeOf("lvm-raid1");
    expect(stack.tree.groups.map((g) => g.selector)).toEqual(["md/lvm-raid1", "vgmd"]);
    expect(stack.tree.volumes.map((v) => [v.selector, v.type, v.label])).toEqual([["vgmd/lvone", "ext2", "onlvm"]]);
  });

  it("nothing that can be read, when members are missing: the array is named with the reason", async () => {
    const [only] = mdMembers("raid5-left-symmetric");
    await using stack = await openStack(
      [{ name: "x.raw", kind: "file", path: "/x.raw", device: memoryDevice(only!), format: null, details: {} }],
      {
        writable: false,
        keys: { secretsFor: async () => [] },
        limits: DEFAULT_LIMITS,
        gate: new PathGate([]),
        openFile: async () => Promise.reject(new Error("no")),
      },
    );
    expect(stack.tree.volumes).toHaveLength(1);
    expect(stack.tree.volumes[0]).toMatchObject({
      selector: "md/raid5-left-symmetric",
      readable: false,
      kind: "unknown",
    });
    expect(stack.tree.volumes[0]!.reason).toContain("devices 1, 2, 3 of 4 missing");
  });
});
