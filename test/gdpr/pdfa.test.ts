import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DOMParser } from "@xmldom/xmldom";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PAPER_IDS } from "../../src/report/gdpr/papers/index.ts";
import { paperFile } from "../../src/report/gdpr/write.ts";
import { sampleMaterial } from "../helpers/gdpr.ts";

/** What ISO 19005-2 asks of level B, and ISO 14289-1 of tags, as far as qpdf and poppler show it: other programs than the one that writes. */
type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
type Dictionary = Record<string, Value>;

const folder = mkdtempSync(join(tmpdir(), "unterbau-pdfa-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

class Pdf {
  readonly file: string;
  readonly bytes: Buffer;
  readonly objects: Map<string, Value>;

  constructor(name: string, bytes: Buffer) {
    this.file = join(folder, `${name}.pdf`);
    this.bytes = bytes;
    writeFileSync(this.file, bytes);
    // Version 1 of qpdf's JSON: objects by reference, streams without their data.
    const json = this.qpdf("--json=1", "--json-key=objects") as { objects: Record<string, Value> };
    this.objects = new Map(Object.entries(json.objects));
  }

  qpdf(...args: string[]): unknown {
    return JSON.parse(execFileSync("qpdf", [...args, this.file], { maxBuffer: 1 << 28 }).toString());
  }

  get(value: Value | undefined): Value {
    return typeof value === "string" && this.objects.has(value) ? this.objects.get(value)! : (value ?? null);
  }

  dictionary(value: Value | undefined): Dictionary {
    const found = this.get(value);
    expect(found).toEqual(expect.any(Object));
    return found as Dictionary;
  }

  stream(reference: Value | undefined): Buffer {
    const [number] = String(reference).split(" ");
    return execFileSync("qpdf", [`--show-object=${number}`, "--filtered-stream-data", this.file], {
      maxBuffer: 1 << 28,
    });
  }

  get trailer(): Dictionary {
    return this.dictionary(this.objects.get("trailer"));
  }

  get catalog(): Dictionary {
    return this.dictionary(this.trailer["/Root"]);
  }
}

describe.each(PAPER_IDS)("%s", (id) => {
  let pdf: Pdf;
  beforeAll(async () => {
    const { content } = await paperFile(id, "pdf", sampleMaterial({ lang: "de", states: { "ENC-01/web": "fail" } }));
    pdf = new Pdf(id, Buffer.from(content));
  });

  it("is whole, and opens without a password", () => {
    // --check ends with 0 only when there is neither an error nor a warning.
    const said = execFileSync("qpdf", ["--check", pdf.file]).toString();
    expect(said).toContain("File is not encrypted");
    expect(pdf.bytes.subarray(0, 7).toString()).toBe("%PDF-1.");
    // 6.1.2: a comment with four bytes above 127 follows the header.
    const second = pdf.bytes.subarray(pdf.bytes.indexOf(0x0a) + 1);
    expect([...second.subarray(0, 5)].map((b, i) => (i === 0 ? b === 0x25 : b > 127))).toEqual(Array(5).fill(true));
    expect(Object.keys(pdf.trailer)).not.toContain("/Encrypt");
    expect(pdf.trailer["/ID"]).toHaveLength(2);
  });

  it("says that it is PDF/A-2b, with the same title and dates twice", () => {
    const metadata = pdf.stream(pdf.catalog["/Metadata"]).toString();
    const errors: string[] = [];
    const xmp = new DOMParser({ onError: (_, message) => errors.push(message) }).parseFromString(metadata, "text/xml");
    expect(errors).toEqual([]);
    const text = (name: string) => xmp.getElementsByTagName(name)[0]?.textContent?.trim();
    expect([text("pdfaid:part"), text("pdfaid:conformance")]).toEqual(["2", "B"]);
    const info = execFileSync("pdfinfo", ["-isodates", pdf.file], { stdio: ["ignore", "pipe", "ignore"] }).toString();
    expect(text("dc:title")).toBe(/^Title: +(.*)$/m.exec(info)?.[1]);
    expect(Date.parse(text("xmp:CreateDate")!)).toBe(Date.parse(/^CreationDate: +(.*)$/m.exec(info)![1]!));
  });

  it("has one colour profile for its output, and it is ICC's", () => {
    const [intent, ...others] = pdf.get(pdf.catalog["/OutputIntents"]) as Value[];
    expect(others).toEqual([]);
    const { "/S": subtype, "/DestOutputProfile": profile } = pdf.dictionary(intent);
    expect(subtype).toBe("/GTS_PDFA1");
    const icc = pdf.stream(profile);
    // ICC.1, 7.2: the profile's size, and its signature.
    expect([icc.readUInt32BE(0), icc.subarray(36, 40).toString()]).toEqual([icc.length, "acsp"]);
  });

  it("runs and fetches nothing, and carries no other file", () => {
    const text = JSON.stringify([...pdf.objects.values()]);
    for (const name of [
      "JavaScript",
      "JS",
      "Launch",
      "SubmitForm",
      "ImportData",
      "Movie",
      "Sound",
      "EmbeddedFiles",
      "AA",
      "XFA",
    ])
      expect(text, name).not.toMatch(new RegExp(`"/${name}"`));
    expect(Object.keys(pdf.catalog)).not.toContain("/OpenAction");
    expect(text).not.toContain('"/LZWDecode"');
    expect(text).not.toMatch(/"\/Interpolate": ?true/);
  });

  it("embeds all its fonts, with the characters that their glyphs stand for", () => {
    const fonts = execFileSync("pdffonts", [pdf.file], { stdio: ["ignore", "pipe", "ignore"] }).toString();
    const lines = fonts.trim().split("\n").slice(2);
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(line).toMatch(/ yes +yes +yes +\d+ +\d+$/);
  });

  it("is tagged: language, headings in order, lists or tables, and words for each drawing", () => {
    expect(pdf.catalog["/Lang"]).toMatch(/de/);
    expect(pdf.dictionary(pdf.catalog["/MarkInfo"])["/Marked"]).toBe(true);
    const found: Dictionary[] = [];
    const walk = (value: Value): void => {
      const node = pdf.get(value);
      if (Array.isArray(node)) for (const child of node) walk(child);
      if (typeof node !== "object" || node === null || Array.isArray(node)) return;
      if (node["/S"] !== undefined) found.push(node);
      if (node["/K"] !== undefined) walk(node["/K"]!);
    };
    walk(pdf.dictionary(pdf.catalog["/StructTreeRoot"])["/K"] ?? null);
    const tags = found.map((node) => String(node["/S"]).slice(1));
    const levels = tags.flatMap((tag) => /^H(\d)$/.exec(tag)?.[1] ?? []).map(Number);
    expect(levels[0]).toBe(1);
    for (const [i, level] of levels.entries()) expect(level - (levels[i - 1] ?? 0)).toBeLessThanOrEqual(1);
    for (const tag of ["Table", "TR", "TH", "TD", "P"]) expect(tags, tag).toContain(tag);
    const figures = found.filter((node) => node["/S"] === "/Figure");
    for (const figure of figures) expect(String(figure["/Alt"] ?? "").length).toBeGreaterThan(10);
    if (id === "tom") expect(figures).toHaveLength(2);
  });
});
