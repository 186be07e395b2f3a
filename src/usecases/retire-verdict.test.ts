import { describe, expect, it } from "vitest";
import type { Medium } from "../host/medium.ts";
import { sanitizeCommand } from "./retire-advice.ts";
import { type Destroyed, verdictOf, worstOf } from "./retire-verdict.ts";

const medium = (type: Medium["type"], ...doubts: string[]): Medium => ({ type, devices: [], whole: false, doubts });
const base: Destroyed = {
  kind: "blockdev",
  method: "random-overwrite",
  medium: medium("hdd"),
  discard: null,
  verified: true,
  gaveBack: false,
};

/** The deletion decision table, row by row. */
describe("the verdict on a destroyed disk", () => {
  it.each<[what: string, change: Partial<Destroyed>, verdict: string, residual: readonly RegExp[]]>([
    ["hard disk, overwritten", {}, "pass", [/sectors that the disk had replaced/]],
    ["SSD, overwritten and discarded", { medium: medium("ssd"), discard: "discarded" }, "warn", [/wear levelling/]],
    [
      "SSD that takes no discard",
      { medium: medium("ssd"), discard: "unsupported" },
      "warn",
      [/wear levelling/, /no discard/],
    ],
    ["file on an SSD", { kind: "file", medium: medium("ssd"), discard: "holes" }, "warn", [/wear/, /fstrim/]],
    ["medium not known", { medium: medium("unknown") }, "warn", [/treated as an SSD/]],
    ["LUKS from the first write, hard disk", { method: "luks-erase" }, "pass", []],
    ["LUKS from the first write, SSD", { method: "luks-erase", medium: medium("ssd") }, "pass", [/old keyslots/]],
    ["LUKS, medium not known", { method: "luks-erase", medium: medium("unknown") }, "warn", [/not known/]],
    ["copy on write", { medium: medium("hdd", "btrfs") }, "warn", [/^not proven: btrfs$/, /sectors/]],
    ["LUKS on copy on write", { method: "luks-erase", medium: medium("hdd", "zfs") }, "warn", [/^not proven: zfs$/]],
    ["file with discards", { kind: "file", gaveBack: true }, "warn", [/blocks that the guest discarded/, /sectors/]],
    ["not read back", { verified: false }, "fail", [/not shown/]],
  ])("%s", (_, change, verdict, residual) => {
    const found = verdictOf({ ...base, ...change });
    expect(found).toEqual({ verdict, residual: residual.map((r) => expect.stringMatching(r)) });
  });

  it("is the worst of all, and that of nothing is no pass", () => {
    expect(worstOf(["pass", "warn", "pass"])).toBe("warn");
    expect(worstOf(["warn", "fail"])).toBe("fail");
    expect(worstOf(["pass"])).toBe("pass");
    expect(worstOf([])).toBe("fail");
  });
});

it.each([
  ["nvme0n1", "nvme sanitize /dev/nvme0 --sanact=2"],
  ["nvme12n3", "nvme sanitize /dev/nvme12 --sanact=2"],
  ["sdb", "hdparm --yes-i-know-what-i-am-doing --sanitize-block-erase /dev/sdb"],
  ["mmcblk0", "the vendor's own tool for /dev/mmcblk0"],
])("names the firmware's way for %s", (device, command) => {
  expect(sanitizeCommand(device)).toContain(command);
});
