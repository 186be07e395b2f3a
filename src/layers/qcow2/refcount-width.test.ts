import { describe, expect, it } from "vitest";
import { refcountCodec } from "./refcount-width.ts";

describe("refcounts of every width", () => {
  it.each([1, 2, 4, 8, 16, 32, 64])("%i bits", (bits) => {
    const codec = refcountCodec(bits);
    const view = new DataView(new ArrayBuffer(64));
    const most = Math.min(2 ** bits - 1, 2 ** 40);
    codec.set(view, 3, most);
    codec.set(view, 5, 1);
    expect([2, 3, 4, 5, 6].map((i) => codec.get(view, i))).toEqual([0, most, 0, 1, 0]);
    codec.set(view, 3, 0);
    expect([2, 3, 4, 5, 6].map((i) => codec.get(view, i))).toEqual([0, 0, 0, 1, 0]);
  });

  it("counts bits of a byte from the least significant (specification, refcount block entry)", () => {
    const view = new DataView(new Uint8Array([0b0000_0010, 0b0100_0000]).buffer);
    expect(refcountCodec(1).get(view, 1)).toBe(1);
    expect(refcountCodec(2).get(view, 0)).toBe(2);
    expect(refcountCodec(4).get(view, 3)).toBe(4);
  });
});
