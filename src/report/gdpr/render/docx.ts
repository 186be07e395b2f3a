import {
  AlignmentType,
  Document,
  Footer,
  Header,
  HeadingLevel,
  LevelFormat,
  Packer,
  PageNumber,
  Paragraph,
  Table,
  TableCell,
  TableLayoutType,
  TableRow,
  TextRun,
  WidthType,
} from "docx";
import type { Block, Box, Cell, Paper, Run, Sentence } from "../model.ts";
import { markText } from "../text.ts";
import { word } from "../words.ts";
import { joined, xml } from "./svg.ts";
import { withFixedTimes } from "./zip-times.ts";

/** Twentieths of a point: A4 with margins of 20 mm. */
const PAGE = { width: 11906, height: 16838 };
const MARGIN = 1134;
/** Room for a header of two lines above the text. */
const TOP = 1474;
const HEADER = 624;
const LINE = PAGE.width - 2 * MARGIN;
const MONO = "DejaVu Sans Mono";
const PLACE = { de: "Ort, Datum, Unterschrift", en: "Place, date, signature" };

/** Word's format. All times in it are the run's: the same paper gives the same bytes. */
export async function docx(paper: Paper): Promise<Uint8Array> {
  const { lang } = paper;
  const page = { de: ["Seite ", " von "], en: ["Page ", " of "] }[lang];
  const small = (children: (string | (typeof PageNumber)[keyof typeof PageNumber])[]) =>
    new Paragraph({ alignment: AlignmentType.RIGHT, children: [new TextRun({ children, size: 16, color: "505050" })] });
  const document = new Document({
    hyphenation: { autoHyphenation: true },
    title: paper.title,
    description: paper.subtitle,
    creator: "Unterbau",
    styles: {
      default: {
        document: { run: { font: "Calibri", size: 21, language: { value: lang === "de" ? "de-DE" : "en-GB" } } },
        title: { run: { size: 34, bold: true }, paragraph: { spacing: { after: 120 } } },
        heading1: {
          run: { size: 27, bold: true },
          paragraph: { spacing: { before: 360, after: 120 }, keepNext: true },
        },
        heading2: { run: { size: 23, bold: true }, paragraph: { spacing: { before: 240, after: 80 }, keepNext: true } },
      },
    },
    numbering: {
      config: [
        {
          reference: "points",
          levels: [0, 1, 2, 3, 4, 5, 6, 7, 8].map((level) => ({
            level,
            format: LevelFormat.BULLET,
            text: level % 2 === 0 ? "•" : "–",
            style: { paragraph: { indent: { left: 360 * (level + 1), hanging: 280 } } },
          })),
        },
      ],
    },
    sections: [
      {
        properties: {
          page: { size: PAGE, margin: { top: TOP, header: HEADER, bottom: MARGIN, left: MARGIN, right: MARGIN } },
        },
        headers: { default: new Header({ children: [small([`${paper.title} · ${paper.subtitle}`])] }) },
        footers: {
          default: new Footer({
            children: [small([`${paper.run} · ${page[0]}`, PageNumber.CURRENT, page[1]!, PageNumber.TOTAL_PAGES])],
          }),
        },
        children: [
          new Paragraph({ heading: HeadingLevel.TITLE, children: [new TextRun(paper.title)] }),
          new Paragraph({ children: [new TextRun({ text: paper.subtitle, color: "505050" })] }),
          ...paper.blocks.flatMap((block) => blocks(block, paper)),
        ],
      },
    ],
  });
  const packed = await Packer.toBuffer(document, undefined, [
    { path: "docProps/core.xml", data: coreProperties(paper) },
  ]);
  return withFixedTimes(packed, new Date(paper.date));
}

/** ECMA-376 part 2, 11: the library writes today's date there. */
function coreProperties({ title, subtitle, date, lang }: Paper): string {
  const time = `${date.slice(0, 19)}Z`;
  return `<?xml version="1.0" encoding="UTF-8" standalone="yes"?><cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:title>${xml(title)}</dc:title><dc:description>${xml(subtitle)}</dc:description><dc:creator>Unterbau</dc:creator><dc:language>${lang}</dc:language><cp:revision>1</cp:revision><dcterms:created xsi:type="dcterms:W3CDTF">${time}</dcterms:created><dcterms:modified xsi:type="dcterms:W3CDTF">${time}</dcterms:modified></cp:coreProperties>`;
}

function runs(list: readonly Run[], size?: number): TextRun[] {
  return list.map(
    ({ text, strong, mono }) =>
      new TextRun({
        text,
        ...(strong ? { bold: true } : {}),
        ...(mono ? { font: MONO, size: 16 } : size === undefined ? {} : { size }),
      }),
  );
}

function sentence({ runs: list, origin }: Sentence, paper: Paper, size?: number): TextRun[] {
  const said = runs(list, size);
  if (!origin) return said;
  return [...said, new TextRun({ text: ` ${markText(origin, paper.lang)}`, size: 16, color: "404040" })];
}

function sentences(cell: Cell, paper: Paper, size?: number): TextRun[] {
  return cell.flatMap((s, i) => [...(i > 0 ? [new TextRun(" ")] : []), ...sentence(s, paper, size)]);
}

function blocks(block: Block, paper: Paper): (Paragraph | Table)[] {
  switch (block.kind) {
    case "heading":
      return [
        new Paragraph({
          heading: block.level === 1 ? HeadingLevel.HEADING_1 : HeadingLevel.HEADING_2,
          children: block.runs.map(({ text }) => new TextRun(text)),
        }),
      ];
    case "paragraph":
      return [new Paragraph({ spacing: { after: 120 }, children: sentences(block.sentences, paper) })];
    case "note":
      return [
        new Paragraph({
          spacing: { before: 120, after: 120 },
          shading: { fill: "F0F0F0", type: "clear", color: "auto" },
          border: { left: { style: "single", size: 18, color: "606060", space: 6 } },
          children: [new TextRun({ text: `${block.title}. `, bold: true }), ...sentences(block.sentences, paper)],
        }),
      ];
    case "list":
      return block.items.map((item) => point(sentences(item, paper), 0));
    case "table":
      return [table(block, paper), new Paragraph({ children: [] })];
    case "figure":
      return figure(block, paper);
    case "signature":
      // Between them something must stand: lines of neighbours with the same border are drawn as one.
      return block.places.flatMap(({ role, name }) => [
        new Paragraph({ spacing: { before: 700 }, keepNext: true, children: [] }),
        new Paragraph({
          keepLines: true,
          border: { top: { style: "single", size: 6, color: "000000", space: 4 } },
          children: [
            new TextRun({ text: `${PLACE[paper.lang]} · ${role}${name === null ? "" : `: ${name}`}`, size: 18 }),
          ],
        }),
      ]);
  }
}

function point(children: TextRun[], level: number): Paragraph {
  return new Paragraph({
    numbering: { reference: "points", level: Math.min(level, 8) },
    spacing: { after: 60 },
    children,
  });
}

function table({ columns, rows }: Extract<Block, { kind: "table" }>, paper: Paper): Table {
  const total = columns.reduce((sum, { width }) => sum + width, 0);
  const widths = columns.map(({ width }) => Math.floor((LINE * width) / total));
  const cell = (children: Paragraph[], i: number, head = false): TableCell =>
    new TableCell({
      width: { size: widths[i]!, type: WidthType.DXA },
      margins: { top: 40, bottom: 40, left: 80, right: 80 },
      ...(head ? { shading: { fill: "E6E6E6", type: "clear", color: "auto" } } : {}),
      children,
    });
  return new Table({
    width: { size: LINE, type: WidthType.DXA },
    columnWidths: widths,
    layout: TableLayoutType.FIXED,
    rows: [
      new TableRow({
        tableHeader: true,
        children: columns.map(({ title }, i) =>
          cell([new Paragraph({ children: [new TextRun({ text: title, bold: true, size: 18 })] })], i, true),
        ),
      }),
      ...rows.map(
        (row) =>
          new TableRow({
            cantSplit: true,
            children: row.map((c, i) =>
              cell(
                c.length === 0
                  ? [new Paragraph({ children: [] })]
                  : c.map((s) => new Paragraph({ children: sentence(s, paper, 18) })),
                i,
              ),
            ),
          }),
      ),
    ],
  });
}

/** Word shows no SVG everywhere: the layers as a list in a list. */
function figure({ caption, drawing }: Extract<Block, { kind: "figure" }>, paper: Paper): Paragraph[] {
  const { lang } = paper;
  const state = { yes: "encrypted", no: "notEncrypted", unknown: "unclear" } as const;
  const out = [
    new Paragraph({
      keepNext: true,
      spacing: { before: 160 },
      children: [new TextRun({ text: `${caption} `, bold: true }), ...runs(drawing.guest)],
    }),
  ];
  const walk = (box: Box, level: number): void => {
    const detail = box.detail.length === 0 ? [] : [new TextRun(` (${joined(box.detail, ", ")})`)];
    const lock = box.encrypts ? [new TextRun({ text: ` [${word("encrypted", lang)}]`, bold: true })] : [];
    out.push(point([new TextRun(joined(box.title)), ...detail, ...lock], level));
    for (const below of box.below) walk(below, level + 1);
  };
  for (const { title, encrypted, box } of drawing.disks) {
    out.push(point([...runs(title), new TextRun({ text: `: ${word(state[encrypted], lang)}`, bold: true })], 0));
    if (box) walk(box, 1);
  }
  return out;
}
