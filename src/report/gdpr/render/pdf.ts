import type { Block, Box, Cell, Drawing, Paper, Run, Sentence } from "../model.ts";
import { markText } from "../text.ts";
import { word } from "../words.ts";
import { drawingSvg, joined } from "./svg.ts";
import { TEMPLATE } from "./typst-template.ts";

/** One that Typst brings, in the text's width. */
const FONT = "Libertinus Serif";

/** Renders PDF/A-2b. Throws `PdfUnavailable` when Typst is not installed, and an Error when it refuses a paper. */
export async function pdf(paper: Paper): Promise<Uint8Array> {
  const { NodeCompiler } = await load();
  // Only the fonts that Typst brings: the same pages on every machine.
  const compiler = NodeCompiler.create({ workspace: "/" });
  const inputs = { paper: JSON.stringify(typstData(paper)) };
  const compiled = compiler.compile({ mainFileContent: TEMPLATE, inputs });
  if (compiled.result === null) {
    const error = compiled.takeError();
    throw new Error(`typst refuses the paper: ${JSON.stringify(error && compiler.fetchDiagnostics(error))}`);
  }
  const creationTimestamp = Math.floor(Date.parse(paper.date) / 1000);
  return compiler.pdf(compiled.result, { pdfStandard: "a-2b", pdfTags: true, creationTimestamp });
}

/** The optional package is not there. */
export class PdfUnavailable extends Error {}

async function load(): Promise<typeof import("@myriaddreamin/typst-ts-node-compiler")> {
  try {
    return await import("@myriaddreamin/typst-ts-node-compiler");
  } catch (error) {
    throw new PdfUnavailable("PDF needs the package @myriaddreamin/typst-ts-node-compiler", { cause: error });
  }
}

const run = (r: Run) => ({ t: r.text, s: r.strong ?? false, m: r.mono ?? false });

/** What the template reads. Values are data there, never code: nothing in them is markup. */
export function typstData(paper: Paper): unknown {
  const { lang } = paper;
  const date = new Date(paper.date);
  return {
    lang,
    title: paper.title,
    subtitle: paper.subtitle,
    date: [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()],
    run: paper.run,
    words: {
      page: { de: "Seite", en: "Page" }[lang],
      of: { de: "von", en: "of" }[lang],
      place: { de: "Ort, Datum, Unterschrift", en: "Place, date, signature" }[lang],
    },
    blocks: paper.blocks.map((block) => blockData(block, paper)),
  };
}

function blockData(block: Block, { lang }: Paper): unknown {
  const sentence = ({ runs, origin }: Sentence) => ({
    runs: runs.map(run),
    mark: origin ? markText(origin, lang) : null,
  });
  const cell = (c: Cell) => c.map(sentence);
  switch (block.kind) {
    case "heading":
      return { ...block, runs: block.runs.map(run) };
    case "paragraph":
    case "note":
      return { ...block, sentences: cell(block.sentences) };
    case "list":
      return { ...block, items: block.items.map(cell) };
    case "table":
      return { ...block, rows: block.rows.map((row) => row.map(cell)) };
    case "figure": {
      const guest = joined(block.drawing.guest);
      const { svg, width, height } = drawingSvg(block.drawing, lang, FONT);
      const caption = `${block.caption} ${guest}`;
      return { kind: "figure", caption, svg, width, height, alt: described(block.drawing, lang) };
    }
    case "signature":
      return block;
  }
}

/** The drawing in words, for who does not see it. */
function described(drawing: Drawing, lang: Paper["lang"]): string {
  const walk = (box: Box): string => {
    const lock = box.encrypts ? ` (${word("encrypted", lang)})` : "";
    const below = box.below.map(walk).join("; ");
    return `${joined(box.title)}${lock}${below === "" ? "" : ` → ${below}`}`;
  };
  const state = { yes: "encrypted", no: "notEncrypted", unknown: "unclear" } as const;
  return drawing.disks
    .map((d) => `${joined(d.title)}, ${word(state[d.encrypted], lang)}${d.box ? `: ${walk(d.box)}` : ""}`)
    .join(". ");
}
