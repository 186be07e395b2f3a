import { describe, expect, it } from "vitest";
import { printable, printableLines, shortPrintable } from "./text.ts";

describe("text that a guest chose", () => {
  it("shows what would act on a terminal", () => {
    expect(printable("a\u001b[31mb\u009bc\nd\u202ee\u061cf é 日本")).toBe(
      "a\\x1b[31mb\\x9bc\\x0ad\\u202ee\\u061cf é 日本",
    );
    expect(printableLines("a\nb\tc\rd\u0007")).toBe("a\nb\tc\\x0dd\\x07");
  });

  it("is cut where it is long", () => {
    expect(shortPrintable("x".repeat(80))).toBe("x".repeat(80));
    expect(shortPrintable("\u0007".repeat(5_000_000))).toBe(`${"\\x07".repeat(80)}…`);
  });
});
