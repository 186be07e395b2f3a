import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { restsOn } from "./rests-on.ts";
import { makeScratch, plainSwap } from "./scratch-place.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unterbau-scratch-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("where a guest's bytes may go", () => {
  it("not where swap would carry them into the clear", () => {
    const swap = join(folder, "swap file");
    writeFileSync(swap, "");
    const list = (path: string) => () =>
      `Filename\tType\tSize\tUsed\tPriority\n${path.replaceAll(" ", "\\040")}\tfile\t1\t0\t-2\n`;
    expect(plainSwap(list(join(folder, "gone")))).toBe(join(folder, "gone"));
    // A tmpfs as the temporary folder would be as good as none.
    if (restsOn(folder).kind !== "memory") expect(plainSwap(list(swap))).toBe(swap);
    expect(plainSwap(() => "Filename\tType\tSize\tUsed\tPriority\n")).toBeNull();
  });

  it("says what is wrong with each place, and leaves nothing", () => {
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const make = (place: string) => makeScratch({ folder: place, size: 2 ** 20, owner });
    expect(() => make("/nowhere")).toThrow(/\/nowhere cannot be used/);
    const other = { uid: owner.uid + 65534, gid: owner.gid + 65534 };
    expect(() => makeScratch({ folder, size: 2 ** 20, owner: other })).toThrow(
      /cannot be entered by the user as whom QEMU runs/,
    );
    expect(() => make("/proc")).toThrow(/\/proc/);
    if (restsOn(folder).kind !== "memory") expect(() => make(folder)).toThrow(/is not encrypted/);
    expect(readdirSync(folder).filter((name) => name.startsWith("unterbau-live"))).toEqual([]);
  });
});
