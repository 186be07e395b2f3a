import { describe, expect, it } from "vitest";
import { MD_TRUTH, mdDevices, mdMembers, sha256Of } from "../../../test/helpers/md.ts";
import { plainContext } from "../../../test/helpers/open-context.ts";
import { type BlockDevice, readBytes } from "../../core/device.ts";
import type { Layer } from "../../core/layer.ts";
import { mdDriver } from "./driver.ts";

const openSet = (devices: readonly BlockDevice[], writable = false) => mdDriver.open(devices, plainContext(writable));
const codes = (layer: Layer) => layer.info.findings.map((f) => f.code);
const arrayOf = (layer: Layer) => layer.children[0]!.open();
const without = <T>(list: readonly T[], ...left: number[]) => list.filter((_, i) => !left.includes(i));
const superblock = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset + 4096, 4096);
const eventsOf = (bytes: Uint8Array) => Number(superblock(bytes).getBigUint64(200, true));

/** Arrays that went on without their member 1, which then missed writes. */
const STALE = ["stale-raid1", "stale-raid5", "stale-raid6", "stale-raid10"];

describe("a member that missed writes", () => {
  it.each(STALE)("%s: is left out, and the newest data is read", async (name) => {
    const { sha256 } = MD_TRUTH[name]!;
    const members = mdMembers(name);
    const all = await openSet(mdDevices(members));
    expect(codes(all)).toContain("md-member-stale");
    expect(all.info.details.state).toBe("clean, degraded");
    expect(await sha256Of(await arrayOf(all))).toBe(sha256);
    expect(await sha256Of(await arrayOf(await openSet(mdDevices(without(members, 1)))))).toBe(sha256);
  });

  it("stale-raid1: alone it is read, said to lack the other, and never written", async () => {
    const layer = await openSet(mdDevices([mdMembers("stale-raid1")[1]!]), true);
    expect(layer.info.findings.find((f) => f.code === "md-member-missing")?.message).toContain(
      "although the others expect it",
    );
    expect(layer.info.details.readOnly).toContain("take its old data for current");
    expect((await arrayOf(layer)).caps.writable).toBe(false);
  });

  it.each(STALE)("%s: the first write puts it further behind, by more than Linux forgives", async (name) => {
    const members = mdMembers(name);
    const before = members.map(eventsOf);
    const layer = await openSet(mdDevices(members), true);
    expect(layer.info.details.readOnly).toBeNull();
    const array = await arrayOf(layer);
    await readBytes(array, 0, array.size);
    expect(members.map(eventsOf)).toEqual(before);
    const fresh = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7 + 3) & 0xff);
    await array.write(fresh, 5000);
    await array.write(fresh, 5000);
    expect(members.map(eventsOf)).toEqual(before.map((events, i) => (i === 1 ? events : before[0]! + 2)));
    expect(Buffer.compare(members[1]!, mdMembers(name)[1]!)).toBe(0);
    // Opened again: the checksums hold, and the same member is left out.
    const again = await openSet(mdDevices(members), true);
    expect(codes(again)).toContain("md-member-stale");
    expect(again.info.details.readOnly).toBeNull();
    expect(Buffer.compare(await readBytes(await arrayOf(again), 5000, fresh.length), fresh)).toBe(0);
  });

  it("a member that the others expect makes the array read-only when it is not there", async () => {
    for (const name of ["raid1-12", "raid1-090", "raid5-left-symmetric", "raid10-n2"]) {
      const layer = await openSet(mdDevices(without(mdMembers(name), 1)), true);
      expect(layer.info.details.readOnly, name).toContain("device 1 is missing");
      expect((await arrayOf(layer)).caps.writable).toBe(false);
    }
  });

  it("one event behind is what a crash leaves, two is not", async () => {
    for (const [behind, expected] of [
      [1n, []],
      [2n, ["md-member-stale", "md-member-missing"]],
    ] as const) {
      const members = mdMembers("raid1-12");
      const sb = superblock(members[1]!);
      sb.setBigUint64(200, sb.getBigUint64(200, true) - behind, true);
      sb.setUint32(216, sb.getUint32(216, true) - Number(behind), true);
      const found = codes(await openSet(mdDevices(members)));
      expect(found.filter((code) => code !== "md-read-only")).toEqual(expected);
    }
  });
});

describe("states that Linux leaves", () => {
  const readsTheSame = async (name: string, expected: { codes: readonly string[]; details: object }) => {
    const layer = await openSet(mdDevices(mdMembers(name)), true);
    expect([...new Set(codes(layer))]).toEqual(expected.codes);
    expect(layer.info.details).toMatchObject(expected.details);
    expect(await sha256Of(await arrayOf(layer))).toBe(MD_TRUTH[name]!.sha256);
    return layer;
  };

  it("a spare is no part of the data", () =>
    readsTheSame("spare-raid5", { codes: [], details: { spares: 1, readOnly: null } }));
  it("a clean bitmap changes nothing", () =>
    readsTheSame("bitmap-raid5", { codes: [], details: { state: "clean", bitmap: true } }));
  it("write-mostly members", () => readsTheSame("writemostly-raid1", { codes: [], details: { state: "clean" } }));

  it("bad blocks are not read, rubbish lies there, and come from the others", () =>
    readsTheSame("badblocks-raid5", {
      codes: ["md-bad-blocks"],
      details: { state: "clean, degraded", readOnly: null },
    }));

  it("a member that is being rebuilt counts up to where it got", async () => {
    await readsTheSame("rebuilding-raid5", { codes: ["md-member-rebuilding"], details: { readOnly: null } });
    // With a member fewer only what is rebuilt can be read.
    const members = mdMembers("rebuilding-raid5");
    const array = await arrayOf(await openSet(mdDevices(without(members, 2))));
    await readBytes(array, 0, 128 * 1024);
    await expect(readBytes(array, array.size - 65536, 65536)).rejects.toMatchObject({ code: "io", layer: "md" });
  });

  it("a mirror that never synced is read from its first member", () =>
    readsTheSame("resync-raid1", { codes: ["md-not-in-sync"], details: { state: "not in sync", readOnly: null } }));

  it("an array that was not stopped is written with parity made anew, and refused when it lacks a member", async () => {
    const layer = await readsTheSame("dirty-raid5", { codes: ["md-not-in-sync"], details: { readOnly: null } });
    expect((await arrayOf(layer)).caps.writable).toBe(true);
    const lacking = await openSet(mdDevices(without(mdMembers("dirty-raid5"), 0)));
    await expect(arrayOf(lacking)).rejects.toMatchObject({ code: "unsupported", feature: "dirty degraded array" });
    expect(lacking.children[0]!.unavailable).toContain("may be wrong");
  });

  it("set bits in the bitmap mean that the parity may not fit", async () => {
    const members = mdMembers("bitmap-raid5");
    // bitmap_offset, in sectors from the superblock; the bits follow 256 bytes of header.
    const at = 4096 + superblock(members[0]!).getInt32(96, true) * 512 + 256;
    for (const bytes of members) bytes[at + 2] = 0x10;
    const layer = await openSet(mdDevices(members));
    expect(codes(layer)).toEqual(["md-not-in-sync"]);
    expect(await sha256Of(await arrayOf(layer))).toBe(MD_TRUTH["bitmap-raid5"]!.sha256);
  });

  it("a partial parity log: read, not written", async () => {
    const layer = await readsTheSame("ppl-raid5", { codes: ["md-read-only"], details: { state: "clean" } });
    expect(layer.info.details.readOnly).toContain("PPL");
    expect((await arrayOf(layer)).caps.writable).toBe(false);
  });

  it("a write journal and a reshape in progress are refused by name", async () => {
    for (const [name, feature] of [
      ["journal-raid5", "journal"],
      ["reshape-raid5", "reshape"],
    ] as const) {
      const layer = await openSet(mdDevices(mdMembers(name)));
      await expect(arrayOf(layer), name).rejects.toMatchObject({ code: "unsupported", layer: "md", feature });
    }
  });
});

describe("members that contradict each other", () => {
  it("two with the same role are refused, one of another shape is left out", async () => {
    const [a, b] = mdMembers("raid1-12") as [Uint8Array, Uint8Array];
    const twice = await openSet(mdDevices([a, Uint8Array.from(a), b]));
    await expect(arrayOf(twice)).rejects.toMatchObject({ code: "corrupt" });

    const strange = mdMembers("raid5-left-symmetric");
    const sb = superblock(strange[1]!);
    sb.setUint32(76, 3, true);
    sb.setUint32(216, sb.getUint32(216, true) + 1, true);
    const layer = await openSet(mdDevices(strange));
    expect(codes(layer)).toContain("md-member-foreign");
    expect(await sha256Of(await arrayOf(layer))).toBe(MD_TRUTH["raid5-left-symmetric"]!.sha256);
  });
});
