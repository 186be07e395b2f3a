import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addMonths, standingOf } from "./age.ts";
import type { Answer } from "./model.ts";
import { parseAnswers } from "./parse.ts";
import { QUESTIONS, questionsOf } from "./questions/index.ts";
import { writeAnswers } from "./write.ts";

const HEAD = "schema: unterbau/answers/1\nfile: office\nlanguage: de\n";

function problems(text: string, kind: "office" | "client" = "office") {
  const parsed = parseAnswers(text, kind);
  return parsed.ok
    ? []
    : parsed.problems.map(({ line, column, field, message }) => `${line}:${column} ${field}: ${message}`);
}

describe("the questionnaire", () => {
  it("has 42 questions, each with blanks of its own names", () => {
    expect(QUESTIONS.map((q) => q.id)).toEqual(
      Array.from({ length: 42 }, (_, i) => `Q${String(i + 1).padStart(2, "0")}`),
    );
    for (const { id, fields } of QUESTIONS) {
      const keys = fields.map((field) => field.key);
      expect(new Set([...keys, "by", "date", "rows"]).size, id).toBe(keys.length + 3);
      expect(
        fields.some((field) => !field.optional),
        id,
      ).toBe(true);
    }
  });

  it.each(["office", "client"] as const)("an empty %s file is valid, and leaves all open", (kind) => {
    for (const lang of ["de", "en"] as const) {
      const parsed = parseAnswers(writeAnswers(kind, lang, { guests: null, given: {} }), kind);
      expect(parsed).toEqual({ ok: true, answers: { kind, language: lang, guests: null, given: {} } });
    }
  });

  it("reads back what it wrote, whatever was answered", () => {
    const value = fc
      .oneof(
        fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
        fc.constantFrom(
          "yes",
          "- x",
          "# no comment",
          "a: b",
          "'",
          '"',
          "1.10",
          "null",
          "~",
          "*ref",
          "&x",
          "\u2028",
          "ä\nö",
        ),
      )
      .filter((s) => s.trim() !== "" && !["null", "~"].includes(s.trim()) && !/\p{Cs}/u.test(s));
    fc.assert(
      fc.property(value, value, (by, text) => {
        const answer = (id: string, rows: Answer["rows"]): Answer => ({
          id,
          by: by.trim(),
          date: "2026-02-28",
          rows,
          partial: false,
        });
        const given = {
          Q36: answer("Q36", [{ procedure: text.trim() }]),
          Q39: answer("Q39", [
            { place: text.trim(), operator: "x", country: "DE", encrypted: "yes", contract: null },
            { place: "b", operator: text.trim(), country: "NO", encrypted: "no", contract: "2024-02-29" },
          ]),
        };
        const written = writeAnswers("office", "de", { guests: null, given });
        const parsed = parseAnswers(written, "office");
        expect(parsed).toEqual({ ok: true, answers: { kind: "office", language: "de", guests: null, given } });
      }),
    );
  });
});

describe("errors in a file of answers", () => {
  it("name line, column and field", () => {
    expect(problems(`${HEAD}Q32:\n  by: Ada\n  date: 24.11.2026\n  access: nur ich\n`)).toEqual([
      "6:3 Q32.date: a date is wanted: YYYY-MM-DD",
    ]);
    expect(problems(`${HEAD}Q32:\n  by: Ada\n  date: 2026-02-30\n  access: nur ich\n`)).toEqual([
      "6:3 Q32.date: a date is wanted: YYYY-MM-DD",
    ]);
    expect(problems(`${HEAD}Q32:\n  by: Ada\n  date: 2026-11-24\n  acess: nur ich\n`)).toEqual([
      "7:3 Q32.acess: this name is not known here",
    ]);
    expect(problems(`${HEAD}Q99:\n  by: Ada\n`)).toEqual(["4:1 Q99: this name is not known here"]);
    expect(problems(`${HEAD}Q01:\n  by: Ada\n`)).toEqual(["4:1 Q01: this name is not known here"]);
    expect(problems(`${HEAD}Q37:\n  by: Ada\n  date: 2026-11-24\n  exists: vielleicht\n`)).toEqual([
      "7:3 Q37.exists: yes or no is wanted",
    ]);
    expect(
      problems(`${HEAD}Q39:\n  by: Ada\n  date: 2026-11-24\n  rows:\n    - place: x\n      encrypted: maybe\n`),
    ).toEqual(["9:7 Q39.rows[1].encrypted: yes or no is wanted"]);
    expect(problems(`${HEAD}Q12:\n  by: Ada\n  date: 2026-11-24\n  kind: box\n`)).toEqual([
      "7:3 Q12.kind: one of these is wanted: mailbox, pass-through",
    ]);
  });

  it("say who or when is missing", () => {
    expect(problems(`${HEAD}Q32:\n  access: nur ich\n`)).toEqual([
      "4:1 Q32.by: who declares this is missing",
      "4:1 Q32.date: the date of this declaration is missing",
    ]);
  });

  it("are found in what is no YAML, or too much of it", () => {
    expect(problems(`${HEAD}Q32: [\n`)[0]).toMatch(/^\d+:\d+ : /);
    expect(problems(`${HEAD}Q32:\n  by: Ada\nQ32:\n  by: Bob\n`)[0]).toMatch(/^6:1 : .*unique/);
    expect(problems("")).toEqual(["1:1 : this is no file of answers"]);
    expect(problems(`${HEAD}Q32: &a\n  by: x\nQ36: *a\n`)[0]).toContain("references");
    expect(problems(`${"[".repeat(100_000)}`).length).toBeGreaterThan(0);
    expect(problems("x".repeat(600_000))[0]).toContain("larger than");
  });

  it("never come as exceptions", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        expect(typeof parseAnswers(HEAD + text, null).ok).toBe("boolean");
      }),
    );
  });
});

describe("the age of declarations", () => {
  const answer = (date: string, partial = false): Answer => ({
    id: "Q32",
    by: "Ada",
    date,
    rows: [{ access: "x" }],
    partial,
  });
  it("ends with the last day of the month that it holds for", () => {
    expect(addMonths("2024-01-31", 1)).toBe("2024-02-29");
    expect(addMonths("2025-11-24", 12)).toBe("2026-11-24");
    expect(standingOf(answer("2025-11-24"), "2026-11-24T23:59:59Z", 12)).toBe("current");
    expect(standingOf(answer("2025-11-23"), "2026-11-24T00:00:00Z", 12)).toBe("aged");
    expect(standingOf(answer("2026-11-24", true), "2026-11-24T00:00:00Z", 12)).toBe("partial");
    expect(standingOf(undefined, "2026-11-24T00:00:00Z", 12)).toBe("open");
  });

  it("knows which file asks what", () => {
    expect(questionsOf("office").length + questionsOf("client").length).toBe(42);
  });
});
