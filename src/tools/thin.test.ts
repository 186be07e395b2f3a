import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseThinDump } from "../../test/helpers/thin-dump.ts";
import { parseMappings, parsePool, parseShared, parseStatus, parseThin } from "./thin.ts";

describe("what tells of thin volumes", () => {
  it("their tables, as the kernel gives them", () => {
    expect(parseThin("0 131072 thin 253:4 7\n")).toEqual({ major: "253", minor: "4", id: "7", external: false });
    expect(parseThin("0 65536 thin 253:4 12 253:9\n")).toMatchObject({ id: "12", external: true });
    expect(parseThin("0 65536 linear 253:4 12\n")).toBeNull();
    expect(parsePool("0 163840 thin-pool 253:2 253:3 128 0 1 skip_block_zeroing \n")).toEqual({
      metadata: "253:2",
      blockSectors: 128,
    });
    const status = (held: string) =>
      `0 163840 thin-pool 4 113/1024 65/1280 ${held} rw discard_passdown queue_if_no_space - 1024 \n`;
    expect(parseStatus(status("-"))).toEqual({ used: 65, total: 1280, held: false });
    expect(parseStatus(status("91")).held).toBe(true);
    expect(() => parseStatus("0 163840 thin-pool Fail\n")).toThrow(/is not understood/);
  });

  it("thin_dump of a pool, recorded: every block of a volume, in its order", () => {
    const xml = readFileSync("test/fixtures/lvm/thin/thin_dump.xml", "utf8");
    const devices = parseThinDump(xml);
    expect(devices.length).toBeGreaterThan(1);
    for (const { id, blocks } of devices) {
      const found = parseMappings(xml, String(id)).flatMap(({ origin, data, length }) =>
        Array.from({ length }, (_, i) => ({ origin: origin + i, data: data + i })),
      );
      expect(found).toEqual(blocks.map(({ origin, data }) => ({ origin, data })));
    }
    expect(parseMappings(xml, "1").map((m) => m.moves)).toEqual([false, true]);
    expect(() => parseMappings(xml, "4711")).toThrow(/is not understood/);
    // A row that is lost must not look like a volume with less.
    expect(() => parseMappings(xml.replace(/<range_mapping[^>]*\/>/, ""), String(devices[0]!.id))).toThrow(
      /is not understood/,
    );
  });

  it("thin_ls: blocks that others have, too", () => {
    expect(parseShared("  1   0\n 12  33\n", "12")).toBe(33);
    expect(() => parseShared("  1   0\n", "12")).toThrow(/is not understood/);
  });
});
