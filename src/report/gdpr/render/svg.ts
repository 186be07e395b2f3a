import type { Box, Drawing, Paper, Run } from "../model.ts";
import { word } from "../words.ts";

const WIDTH = 176;
const GAP_X = 14;
const GAP_Y = 22;
const MARGIN = 8;
const HEAD = 44;
/** Disks stand side by side as far as this goes, so that letters stay readable on a sheet of A4 (170 mm are 643 px). */
const ROW = 4 * WIDTH + 3 * GAP_X;
const ROW_GAP = 20;
/** Of letters, in pixels; `small` is what stands below the title. */
const SIZE = 12;
const SMALL = 10;
/** Room beside the letters, and what the padlock takes. */
const PADDING = 7;
const LOCK = 20;
/** Lines of the title and of what stands below, at most; the rest is cut with an ellipsis. */
const TITLE_LINES = 2;
const DETAIL_LINES = 3;
/** Between one line and the next. */
const LEADING = 3;
/** Above and below all lines. */
const PADDING_Y = 9;

export function xml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

interface Line {
  readonly text: string;
  readonly size: number;
  readonly weight: "bold" | "normal";
}

interface Placed {
  readonly box: Box;
  readonly x: number;
  readonly y: number;
  readonly height: number;
  readonly below: readonly Placed[];
}

/**
 * The layers of a guest's disks, from what the guest sees above to the physical disks below. An encrypting layer has a thick double frame, a padlock and
 * its name in bold: colour alone says nothing.
 */
export function drawingSvg(
  drawing: Drawing,
  lang: Paper["lang"],
  font = "DejaVu Sans, Arial, sans-serif",
): { svg: string; width: number; height: number } {
  let x = MARGIN;
  let top = 0;
  let deepest = 0;
  let widest = 0;
  const rowHeight = () => HEAD + deepest;
  const parts: string[] = [];
  for (const { title, encrypted, box } of drawing.disks) {
    const width = box ? widthOf(box) : WIDTH;
    if (x > MARGIN && x + width > ROW + MARGIN) {
      top += rowHeight() + ROW_GAP;
      [x, deepest] = [MARGIN, 0];
    }
    const state = { yes: "encrypted", no: "notEncrypted", unknown: "unclear" } as const;
    parts.push(
      label(x + width / 2, top + 18, joined(title), "bold"),
      label(x + width / 2, top + 35, word(state[encrypted], lang), encrypted === "yes" ? "normal" : "bold"),
    );
    if (box) {
      const placed = place(box, x, top + MARGIN + HEAD);
      deepest = Math.max(deepest, treeHeight(box));
      parts.push(lines(placed), boxes(placed));
    }
    x += width + GAP_X;
    widest = Math.max(widest, x - GAP_X);
  }
  const width = Math.max(widest, WIDTH) + MARGIN;
  const height = MARGIN * 2 + top + rowHeight();
  const described = `${joined(drawing.guest)}: ${drawing.disks.map((d) => joined(d.title)).join(", ")}`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${xml(described)}" font-family="${font}">${parts.join("")}</svg>`;
  return { svg, width, height };
}

export function joined(runs: readonly Run[], between = " "): string {
  return runs.map((run) => run.text).join(between);
}

function widthOf(box: Box): number {
  const below = box.below.reduce((sum, b) => sum + widthOf(b), 0) + Math.max(0, box.below.length - 1) * GAP_X;
  return Math.max(WIDTH, below);
}

function treeHeight(box: Box): number {
  const below = box.below.map((b) => GAP_Y + treeHeight(b));
  return heightOf(box) + Math.max(0, ...below);
}

function heightOf(box: Box): number {
  return PADDING_Y * 2 + linesOf(box).reduce((sum, line) => sum + line.size + LEADING, 0) - LEADING;
}

/** Room for letters: the padlock takes its own. */
function leftOf({ encrypts }: Box): number {
  return PADDING + (encrypts ? LOCK + 2 : 0);
}

function linesOf(box: Box): Line[] {
  const room = WIDTH - leftOf(box) - PADDING;
  const weight = box.encrypts ? "bold" : "normal";
  const title = folded(joined(box.title), room / SIZE / (box.encrypts ? BOLDER : 1), TITLE_LINES);
  const detail = folded(joined(box.detail, ", "), room / SMALL, DETAIL_LINES);
  return [
    ...title.map((text): Line => ({ text, size: SIZE, weight })),
    ...detail.map((text): Line => ({ text, size: SMALL, weight: "normal" })),
  ];
}

function place(box: Box, left: number, y: number): Placed {
  let x = left;
  const height = heightOf(box);
  const below = box.below.map((b) => {
    const placed = place(b, x, y + height + GAP_Y);
    x += widthOf(b) + GAP_X;
    return placed;
  });
  return { box, x: left + (widthOf(box) - WIDTH) / 2, y, height, below };
}

function lines({ x, y, height, below }: Placed): string {
  return below
    .map((b) => {
      const from = `${x + WIDTH / 2},${y + height}`;
      const to = `${b.x + WIDTH / 2},${b.y}`;
      const middle = y + height + GAP_Y / 2;
      return `<polyline points="${from} ${x + WIDTH / 2},${middle} ${b.x + WIDTH / 2},${middle} ${to}" fill="none" stroke="#555" stroke-width="1.5"/>${lines(b)}`;
    })
    .join("");
}

function boxes({ box, x, y, height, below }: Placed): string {
  const { encrypts } = box;
  const frame = `<rect x="${x}" y="${y}" width="${WIDTH}" height="${height}" rx="4" fill="${encrypts ? "#d8efe0" : "#f4f4f4"}" stroke="${encrypts ? "#0b5c2e" : "#666"}" stroke-width="${encrypts ? 3 : 1.2}"/>`;
  const inner = encrypts
    ? `<rect x="${x + 4}" y="${y + 4}" width="${WIDTH - 8}" height="${height - 8}" rx="2" fill="none" stroke="#0b5c2e" stroke-width="1"/>${padlock(x + PADDING + 4, y + height / 2 - 9)}`
    : "";
  const left = leftOf(box);
  const middle = x + (left + WIDTH - PADDING) / 2;
  let at = y + PADDING_Y;
  const text = linesOf(box).map((line) => {
    at += line.size;
    const shown = label(middle, at - line.size * 0.12, line.text, line.weight, line.size);
    at += LEADING;
    return shown;
  });
  return `${frame}${inner}${text.join("")}${below.map((b) => boxes(b)).join("")}`;
}

function padlock(x: number, y: number): string {
  return `<path d="M${x + 2} ${y + 7}v-3a4 4 0 0 1 8 0v3" fill="none" stroke="#0b5c2e" stroke-width="1.8"/><rect x="${x}" y="${y + 7}" width="12" height="9" rx="1.5" fill="#0b5c2e"/>`;
}

/** How much wider bold letters are. */
const BOLDER = 1.12;

/** Width of a letter of a wide sans serif (DejaVu Sans), in em; on the safe side. */
function em(character: string): number {
  if (/[ .,:;'|!ijlI()[\]ftr/-]/.test(character)) return 0.42;
  if (/[mwMWÄÖÜ@%&_]/.test(character)) return 0.98;
  if (/[a-z0-9]/.test(character)) return 0.64;
  return character < "\u0250" ? 0.77 : 1.1;
}

/** At most `most` lines of this many em, broken at blanks; a word that is wider is broken where the line is full. */
function folded(text: string, width: number, most: number): string[] {
  const widthOf = (part: string) => [...part].reduce((sum, c) => sum + em(c), 0);
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((w) => w !== "")) {
    if (line !== "" && widthOf(`${line} ${word}`) > width) {
      lines.push(line);
      line = "";
    }
    if (line !== "") line += " ";
    for (const c of word) {
      if (widthOf(line + c) > width) {
        lines.push(line);
        line = "";
      }
      line += c;
    }
  }
  if (line !== "") lines.push(line);
  if (lines.length <= most) return lines;
  let last = lines[most - 1]!;
  while (last !== "" && widthOf(`${last}…`) > width) last = [...last].slice(0, -1).join("");
  return [...lines.slice(0, most - 1), `${last}…`];
}

function label(x: number, y: number, text: string, weight: "bold" | "normal", size = SIZE): string {
  return `<text x="${x}" y="${y}" text-anchor="middle" font-size="${size}" font-weight="${weight}" fill="#111">${xml(text)}</text>`;
}
