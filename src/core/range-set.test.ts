import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RangeSet } from "./range-set.ts";

describe("RangeSet", () => {
  it("merges what overlaps or touches", () => {
    const set = new RangeSet();
    set.add(0, 10);
    set.add(20, 10);
    set.add(10, 10);
    expect([...set]).toEqual([{ offset: 0, length: 30 }]);
    set.subtract(5, 20);
    expect([...set]).toEqual([
      { offset: 0, length: 5 },
      { offset: 25, length: 5 },
    ]);
    expect([...set.gaps(3, 24)]).toEqual([{ offset: 5, length: 20 }]);
    expect(set.has(26, 4)).toBe(true);
    expect(set.has(26, 5)).toBe(false);
  });

  it("holds offsets far beyond 32 bits", () => {
    const set = new RangeSet();
    const far = 2 ** 52;
    set.add(far, 512);
    expect(set.has(far + 511)).toBe(true);
    expect(set.has(far + 512)).toBe(false);
  });

  it("agrees with a plain array of booleans", () => {
    const operation = fc.record({
      add: fc.boolean(),
      offset: fc.integer({ min: 0, max: 60 }),
      length: fc.integer({ min: 0, max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
        const set = new RangeSet();
        const model = new Array<boolean>(80).fill(false);
        for (const { add, offset, length } of operations) {
          if (add) set.add(offset, length);
          else set.subtract(offset, length);
          model.fill(add, offset, offset + length);
        }
        const back = new Array<boolean>(80).fill(false);
        let previous = -1;
        for (const r of set) {
          expect(r.offset).toBeGreaterThan(previous);
          expect(r.length).toBeGreaterThan(0);
          back.fill(true, r.offset, r.offset + r.length);
          previous = r.offset + r.length;
        }
        expect(back).toEqual(model);
        expect(set.bytes).toBe(model.filter(Boolean).length);
        const inverse = new Array<boolean>(80).fill(true);
        for (const g of set.gaps(0, 80)) inverse.fill(false, g.offset, g.offset + g.length);
        expect(inverse).toEqual(model);
      }),
      { numRuns: 200 },
    );
  });
});
