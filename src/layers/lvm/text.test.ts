import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseIdentity, parseText, TextError } from "./text.ts";

describe("LVM metadata text", () => {
  it("reads sections, numbers, strings with escapes, arrays and comments", () => {
    const root = parseText(
      '# before\nvg {\n  id = "a-b" # behind\n a=-1 b = 1.5 c = [] d = ["x", 3,\n4 ] e { f = "q\\"\\\\n#" }\n}\n#end\0 rubbish {',
    );
    expect([...root.keys()]).toEqual(["vg"]);
    const vg = root.get("vg") as Map<string, unknown>;
    expect(Object.fromEntries(vg)).toEqual({
      id: "a-b",
      a: -1,
      b: 1.5,
      c: [],
      d: ["x", 3, 4],
      e: new Map([["f", 'q"\\n#']]),
    });
  });

  it("keeps numbers beyond 2^53 exact and names such as __proto__ harmless", () => {
    const root = parseText("a = 18446744073709551615 __proto__ { x = 1 }");
    expect(root.get("a")).toBe(18446744073709551615n);
    expect(root.get("x")).toBeUndefined();
  });

  const bad: readonly (readonly [string, string])[] = [
    ["an open section", "a {"],
    ["a closing bracket too many", "a { } }"],
    ["an open string", 'a = "b'],
    ["a string that ends in a backslash", 'a = "b\\'],
    ["an open array", "a = [1, 2"],
    ["an array without commas", "a = [1 2]"],
    ["a section in an array", "a = [{ }]"],
    ["no value", "a = }"],
    ["a bare word", "a = b"],
    ["a name twice", "a = 1 a { }"],
    ["17 nested sections", `${"a {".repeat(17)}${"}".repeat(17)}`],
    ["a million open sections", "a {".repeat(1_000_000)],
  ];
  for (const [name, text] of bad) it(`refuses ${name}`, () => expect(() => parseText(text)).toThrow(TextError));

  it("skips a million comments and blanks without recursion", () => {
    expect(parseText(`${"#\n \t".repeat(1_000_000)}a = 1`).get("a")).toBe(1);
  });

  it("takes any text: a section or a TextError", () => {
    const token = fc.constantFrom("a", "{", "}", "=", "[", "]", ",", '"', "\\", "#", "\n", " ", "1", "-", ".", "é");
    fc.assert(
      fc.property(fc.array(token, { maxLength: 60 }), (tokens) => {
        try {
          expect(parseText(tokens.join(""))).toBeInstanceOf(Map);
        } catch (error) {
          expect(error).toBeInstanceOf(TextError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("knows a group from the head of its text, and nothing from less", () => {
    expect(parseIdentity('vg0 {\nid = "x"\nseqno = 7\nformat = "lv')).toEqual({ name: "vg0", id: "x", seqno: 7 });
    for (const head of ["", "vg0", 'vg0 {\nid = "x"', "vg0 {\nseqno = 7\n}", 'vg0 { sub { id = "x" seqno = 1 } }']) {
      expect(parseIdentity(head)).toBeNull();
    }
  });
});
