import { describe, expect, it } from "vitest";
import { Layout } from "./layout.ts";

describe("Layout", () => {
  it("finds areas, overlapping ones too, and forgets removed ones", () => {
    const layout = new Layout(512);
    layout.addArea("b", 4 * 512, 3 * 512);
    layout.addArea("a", 0, 1);
    layout.addArea("c", 5 * 512, 5 * 512 + 1);
    layout.addArea("none", 20 * 512, 0);
    const all = () => Array.from({ length: 13 }, (_, i) => layout.area(i) ?? ".").join("");
    expect(all()).toBe("a...bbbcccc..");
    layout.removeArea("b");
    expect(all()).toBe("a....cccccc..");
    expect(layout.area(20)).toBeNull();
  });

  it("knows tables besides areas", () => {
    const layout = new Layout(512);
    expect(layout.addTable(1024)).toBe(true);
    expect(layout.addTable(1024)).toBe(false);
    expect(layout.at(2)).toBe("an active table");
    expect(layout.area(2)).toBeNull();
    layout.removeTable(2);
    expect(layout.at(2)).toBeNull();
  });

  it("stays quick with as many areas as there can be snapshots", () => {
    const layout = new Layout(512);
    for (let i = 0; i < 65536; i++) layout.addArea("s", 512, 512 * 1000);
    for (let i = 0; i < 65536; i++) layout.area(i);
    expect(layout.area(1000)).toBe("s");
    expect(layout.area(1001)).toBeNull();
  });
});
