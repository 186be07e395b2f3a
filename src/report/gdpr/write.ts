import type { Material } from "./material.ts";
import type { Paper, PaperId } from "./model.ts";
import { paperOf } from "./papers/index.ts";
import { html } from "./render/html.ts";
import { json } from "./render/json.ts";
import { markdown } from "./render/markdown.ts";

export const FORMATS = ["md", "html", "pdf", "docx", "json", "oscal"] as const;
export type Format = (typeof FORMATS)[number];

export interface PaperFile {
  /** `tom-de.pdf` */
  readonly name: string;
  readonly content: string | Uint8Array;
}

/** OSCAL has a form for what was measured and for what is to be done; not for the other papers. */
export function hasForm(id: PaperId, format: Format): boolean {
  return format !== "oscal" || id === "evidence" || id === "deviations";
}

/** One paper in one form: the same material gives the same bytes. Throws `PdfUnavailable`. */
export async function paperFile(id: PaperId, format: Format, material: Material): Promise<PaperFile> {
  const { lang } = material;
  if (format === "oscal") {
    const { assessmentResults, planOfAction } = await import("./oscal/index.ts");
    return id === "evidence"
      ? { name: `assessment-results-${lang}.oscal.json`, content: assessmentResults(material) }
      : { name: `poam-${lang}.oscal.json`, content: planOfAction(material) };
  }
  return { name: `${id}-${lang}.${format}`, content: await rendered(paperOf(id, material), format, material) };
}

async function rendered(
  paper: Paper,
  format: Exclude<Format, "oscal">,
  material: Material,
): Promise<string | Uint8Array> {
  switch (format) {
    case "md":
      return markdown(paper);
    case "html":
      return html(paper);
    case "json":
      return json(paper, material);
    case "pdf":
      return (await import("./render/pdf.ts")).pdf(paper);
    case "docx":
      return (await import("./render/docx.ts")).docx(paper);
  }
}
