import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DOMParser } from "@xmldom/xmldom";
import { Ajv } from "ajv";
import { afterAll, describe, expect, it } from "vitest";
import type { Material } from "../../src/report/gdpr/material.ts";
import type { PaperId } from "../../src/report/gdpr/model.ts";
import { PAPER_IDS } from "../../src/report/gdpr/papers/index.ts";
import { FORMATS, type Format, hasForm, paperFile } from "../../src/report/gdpr/write.ts";
import { sampleMaterial } from "../helpers/gdpr.ts";
import { ASSESSMENT_RESULTS, PLAN_OF_ACTION } from "./oscal-shape.ts";

const folder = mkdtempSync(join(tmpdir(), "unterbau-papers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const STATES = {
  "ENC-01/web": "fail",
  "NET-01/web": "warn",
  "INV-01": "unknown",
  "BAK-01": "missing",
  "KEY-02": "n-a",
} as const;
const ALL = PAPER_IDS.flatMap((id) => FORMATS.filter((f) => hasForm(id, f)).map((format) => [id, format] as const));

async function bytes(id: PaperId, format: Format, material: Material): Promise<Buffer> {
  return Buffer.from((await paperFile(id, format, material)).content);
}

async function text(id: PaperId, format: Format, material: Material): Promise<string> {
  return (await bytes(id, format, material)).toString();
}

/** What the paper says to a reader, by another program. */
function pdfText(pdf: Buffer): string {
  const file = join(folder, `${createHash("sha256").update(pdf).digest("hex")}.pdf`);
  writeFileSync(file, pdf);
  return execFileSync("pdftotext", ["-layout", file, "-"]).toString().replaceAll("\u200b", "");
}

function unzipped(docx: Buffer, name: string): string {
  const file = join(folder, `${createHash("sha256").update(docx).digest("hex")}.docx`);
  writeFileSync(file, docx);
  return execFileSync("python3", [
    "-c",
    "import sys, zipfile; sys.stdout.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())",
    file,
    name,
  ]).toString();
}

describe("golden papers", () => {
  for (const lang of ["de", "en"] as const) {
    it.each(PAPER_IDS)(`%s in ${lang} says what it said`, async (id) => {
      const said = await text(id, "md", sampleMaterial({ lang, states: STATES }));
      const golden = `test/golden/gdpr/${id}-${lang}.md`;
      if (process.env.UPDATE_GOLDEN) writeFileSync(golden, said);
      expect(existsSync(golden), "UPDATE_GOLDEN=1 writes it; read it before you commit it").toBe(true);
      expect(said).toBe(readFileSync(golden, "utf8"));
    });
  }
});

describe("the same run and answers", () => {
  it.each(ALL)("give the same bytes: %s as %s", async (id, format) => {
    const first = await bytes(id, format, sampleMaterial({ states: STATES }));
    // The ZIP format's times have two seconds; the others' one.
    await new Promise((resolve) => setTimeout(resolve, format === "docx" || format === "pdf" ? 2100 : 0));
    const second = await bytes(id, format, sampleMaterial({ states: STATES }));
    expect(second.equals(first)).toBe(true);
  });
});

describe("hostile text", () => {
  const EVIL = `</script><script>alert(1)</script> ${"`"}# *b* | [x](javascript:1) <img src=x onerror=1> #panic() $x$ \\ "q" ]]> & \u202e\u0007\ud800 \u0000 http://evil.example {disk}`;
  const material = () => sampleMaterial({ hostile: EVIL, states: STATES, audience: "internal", client: null });

  it("is no markup in Markdown, and breaks no table", async () => {
    for (const id of PAPER_IDS) {
      const said = await text(id, "md", material());
      const outside = said.replace(/`[\w ./:=,-]+`/g, "");
      expect(outside).not.toMatch(/(?<!\\)<(?!br>)|(?<!\\)\]\(|(?<!\\)`/);
      for (const line of said.split("\n").filter((l) => l.startsWith("| "))) {
        const columns = line.replaceAll("\\|", "").split("|").length;
        expect([4, 5, 6, 7, 8]).toContain(columns);
      }
      expect(said).not.toMatch(/(?!\n)\p{Cc}|[\u202e\ufffe]/u);
    }
  });

  it("is no markup in HTML", async () => {
    for (const id of PAPER_IDS) {
      const said = await text(id, "html", material());
      expect(said).not.toMatch(/<script|<img|<a href="(?!#b\d)/);
      const errors: string[] = [];
      const xhtml = said.replace("<!DOCTYPE html>", "").replace(/<(meta|col|br)\b([^>]*)>/g, "<$1$2/>");
      new DOMParser({ onError: (level, message) => level !== "warning" && errors.push(message) }).parseFromString(
        xhtml,
        "text/xml",
      );
      expect(errors).toEqual([]);
    }
  });

  it("is no code in Typst: the PDF says it as it is", async () => {
    const said = pdfText(await bytes("evidence", "pdf", material())).replace(/\s+/g, "");
    expect(said).toContain("#panic()$x$");
    expect(said).toContain("*b*|[x](javascript:1)");
  });

  it("is well-formed XML in DOCX", async () => {
    for (const id of PAPER_IDS) {
      const docx = await bytes(id, "docx", material());
      for (const part of ["word/document.xml", "docProps/core.xml", "word/header1.xml"]) {
        const errors: string[] = [];
        new DOMParser({ onError: (level, message) => level !== "warning" && errors.push(message) }).parseFromString(
          unzipped(docx, part),
          "text/xml",
        );
        expect(errors, part).toEqual([]);
      }
    }
  });
});

describe("PDF", () => {
  it("is PDF/A-2b with tags, language, title and the run's date", async () => {
    const pdf = await bytes("tom", "pdf", sampleMaterial({ lang: "de", states: STATES }));
    const raw = pdf.toString("latin1");
    expect(raw).toMatch(/<pdfaid:part>2<\/pdfaid:part>/);
    expect(raw).toMatch(/<pdfaid:conformance>B<\/pdfaid:conformance>/);
    expect(raw).toContain("/Lang (de)");
    expect(raw).toContain("/OutputIntents");
    const file = join(folder, "tom.pdf");
    writeFileSync(file, pdf);
    const info = execFileSync("pdfinfo", ["-isodates", file], { stdio: ["ignore", "pipe", "ignore"] }).toString();
    expect(info).toMatch(/Tagged: +yes/);
    expect(info).toMatch(/Title: +Anlage: Technische und organisatorische Maßnahmen/);
    expect(info).toMatch(/CreationDate: +2026-11-24T10:00:02/);
    const fonts = execFileSync("pdffonts", [file], { stdio: ["ignore", "pipe", "ignore"] })
      .toString()
      .trim()
      .split("\n")
      .slice(2);
    for (const font of fonts) expect(font, "embedded, with Unicode").toMatch(/ yes +yes +yes +\d+ +\d+$/);
    expect(pdfText(pdf)).toContain("Verschlüsselung");
  });
});

describe("DOCX", () => {
  it("is a package that another reader takes, with page numbers and the language", async () => {
    const docx = await bytes("tom", "docx", sampleMaterial({ states: STATES }));
    const file = join(folder, "tom.docx");
    writeFileSync(file, docx);
    execFileSync("python3", [
      "-c",
      "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; assert {i.date_time for i in z.infolist()} == {(2026, 11, 24, 10, 0, 2)}",
      file,
    ]);
    expect(unzipped(docx, "word/footer1.xml")).toContain("NUMPAGES");
    expect(unzipped(docx, "word/styles.xml")).toContain("de-DE");
    expect(unzipped(docx, "word/document.xml")).toContain("Verschlüsselung");
    expect(unzipped(docx, "docProps/core.xml")).toContain("2026-11-24T10:00:02Z");
  });
});

describe("data", () => {
  const ajv = new Ajv({ allErrors: true, formats: { uri: true, "uri-reference": true }, unicodeRegExp: true });

  it("as JSON follow their schema", async () => {
    const validate = ajv.compile(JSON.parse(readFileSync("docs/schemas/report.json", "utf8")) as object);
    for (const id of PAPER_IDS) {
      for (const options of [{ states: STATES }, { office: null, client: null }]) {
        const document = JSON.parse(await text(id, "json", sampleMaterial(options))) as unknown;
        expect(validate(document), JSON.stringify(validate.errors)).toBe(true);
      }
    }
  });

  const results = ajv.compile(ASSESSMENT_RESULTS);
  const poam = ajv.compile(PLAN_OF_ACTION);
  const HOSTILE = "a\nb \u0000 <x> \u202e ";

  it.each([
    ["a host with deviations", { states: STATES }],
    ["a host without", {}],
    ["hostile names", { states: STATES, hostile: HOSTILE, client: null, audience: "internal" as const }],
    ["nothing declared", { office: null, client: null }],
  ])("as OSCAL have its shape, and all that they refer to: %s", async (_, options) => {
    const material = sampleMaterial(options);
    for (const [id, validate] of [
      ["evidence", results],
      ["deviations", poam],
    ] as const) {
      const source = await text(id, "oscal", material);
      const document = JSON.parse(source) as unknown;
      expect(validate(document), JSON.stringify(validate.errors?.slice(0, 3))).toBe(true);
      const defined = [...source.matchAll(/"uuid": "([^"]+)"/g)].map((m) => m[1]!);
      expect(new Set(defined).size).toBe(defined.length);
      const named = [...source.matchAll(/"(?:observation-uuid|risk-uuid|href)": "#?([0-9a-f-]{36})"/g)].map(
        (m) => m[1]!,
      );
      expect(named.length).toBeGreaterThan(0);
      for (const reference of named) expect(defined).toContain(reference);
    }
  });

  it("never call satisfied what did not pass", async () => {
    const document = JSON.parse(await text("evidence", "oscal", sampleMaterial({ states: STATES }))) as {
      "assessment-results": { results: { findings: { title: string; target: { status: object } }[] }[] };
    };
    const status = Object.fromEntries(
      document["assessment-results"].results[0]!.findings.map((f) => [f.title.slice(0, 6), f.target.status]),
    );
    expect(status["ENC-01"]).toEqual({ state: "not-satisfied", reason: "fail" });
    expect(status["NET-01"]).toEqual({ state: "not-satisfied", reason: "other" });
    expect(status["INV-01"]).toEqual({ state: "not-satisfied", reason: "other" });
    expect(status["KEY-02"]).toBeUndefined();
    expect(status["BAK-01"]).toBeUndefined();
    expect(status["ENC-03"]).toEqual({ state: "satisfied", reason: "pass" });
  });
});
