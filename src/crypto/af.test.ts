import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { afMerge, afSplit } from "./af.ts";
import { opensslHash } from "./hash.ts";

describe("the anti-forensic splitter", () => {
  it("gives back what was split, for keys of any length", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 70 }),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom("sha1", "sha256", "sha512"),
        (key, stripes, hash) => {
          const random = Uint8Array.from({ length: key.length * (stripes - 1) }, (_, i) => (i * 73 + 11) & 255);
          const material = afSplit(key, random, stripes, hash);
          expect(material.length).toBe(key.length * stripes);
          expect(afMerge(material, key.length, stripes, hash)).toEqual(key);
        },
      ),
    );
  });

  it("diffuses as the LUKS1 specification says (2.4): H2 over numbered pieces", () => {
    const first = Uint8Array.from({ length: 40 }, (_, i) => i);
    const h = (n: number, piece: Uint8Array) =>
      createHash("sha256")
        .update(Buffer.from([0, 0, 0, n]))
        .update(piece)
        .digest();
    const diffused = Buffer.concat([h(0, first.subarray(0, 32)), h(1, first.subarray(32)).subarray(0, 8)]);
    const material = new Uint8Array(80);
    material.set(first);
    expect(Buffer.from(afMerge(material, 40, 2, "sha256"))).toEqual(diffused);
  });

  it.each([
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha512-224",
    "sha512-256",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
    "blake2b-512",
    "blake2s-256",
    "ripemd160",
    "sm3",
  ])("diffuses by %s as node:crypto's own objects do", (hash) => {
    const name = opensslHash(hash);
    const stripe = (n: number) => Uint8Array.from({ length: 200 }, (_, i) => (i * 7 + n * 31 + 5) & 255);
    let expected = Buffer.alloc(200);
    const material = Buffer.concat([stripe(0), stripe(1), stripe(2)]);
    for (let s = 0; s < 3; s++) {
      for (let i = 0; i < 200; i++) expected[i]! ^= material[s * 200 + i]!;
      if (s === 2) break;
      const pieces: Buffer[] = [];
      for (let at = 0, i = 0; at < 200; i++) {
        const size = createHash(name).digest().length;
        const digest = createHash(name)
          .update(Buffer.from([0, 0, 0, i]))
          .update(expected.subarray(at, at + size))
          .digest();
        pieces.push(digest.subarray(0, Math.min(size, 200 - at)));
        at += size;
      }
      expected = Buffer.concat(pieces);
    }
    expect(Buffer.from(afMerge(material, 200, 3, hash))).toEqual(expected);
  });

  it("needs every stripe", () => {
    const key = new Uint8Array(32).fill(7);
    const material = afSplit(key, new Uint8Array(32 * 7).fill(1), 8, "sha256");
    for (let s = 0; s < 8; s++) {
      const damaged = material.slice();
      damaged[s * 32]! ^= 1;
      expect(afMerge(damaged, 32, 8, "sha256")).not.toEqual(key);
    }
    expect(() => afMerge(material, 32, 9, "sha256")).toThrow(RangeError);
  });
});
