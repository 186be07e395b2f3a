import type { Box, Drawing, Paper, Run } from "../model.ts";
import { word } from "../words.ts";

const WIDTH = 226;
const HEIGHT = 52;
const GAP_X = 16;
const GAP_Y = 26;
const MARGIN = 8;
const HEAD = 44;
/** Characters that fit a box's width, as its title and in the smaller second line; the rest is cut with an ellipsis. */
const FITS = 32;
const FITS_SMALL = 38;

export function xml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

interface Placed {
  readonly box: Box;
  readonly x: number;
  readonly y: number;
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
  let deepest = 0;
  const parts: string[] = [];
  for (const { title, encrypted, box } of drawing.disks) {
    const width = box ? widthOf(box) : WIDTH;
    const state = { yes: "encrypted", no: "notEncrypted", unknown: "unclear" } as const;
    parts.push(
      label(x + width / 2, 18, joined(title), "bold"),
      label(x + width / 2, 35, word(state[encrypted], lang), encrypted === "yes" ? "normal" : "bold"),
    );
    if (box) {
      const placed = place(box, x, MARGIN + HEAD);
      deepest = Math.max(deepest, depth(box));
      parts.push(lines(placed), boxes(placed));
    }
    x += width + GAP_X * 2;
  }
  const width = Math.max(x - GAP_X * 2 + MARGIN, WIDTH);
  const height = MARGIN * 2 + HEAD + deepest * HEIGHT + Math.max(0, deepest - 1) * GAP_Y;
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

function depth(box: Box): number {
  return 1 + Math.max(0, ...box.below.map(depth));
}

function place(box: Box, left: number, y: number): Placed {
  let x = left;
  const below = box.below.map((b) => {
    const placed = place(b, x, y + HEIGHT + GAP_Y);
    x += widthOf(b) + GAP_X;
    return placed;
  });
  return { box, x: left + (widthOf(box) - WIDTH) / 2, y, below };
}

function lines({ x, y, below }: Placed): string {
  return below
    .map((b) => {
      const from = `${x + WIDTH / 2},${y + HEIGHT}`;
      const to = `${b.x + WIDTH / 2},${b.y}`;
      const middle = y + HEIGHT + GAP_Y / 2;
      return `<polyline points="${from} ${x + WIDTH / 2},${middle} ${b.x + WIDTH / 2},${middle} ${to}" fill="none" stroke="#555" stroke-width="1.5"/>${lines(b)}`;
    })
    .join("");
}

function boxes({ box, x, y, below }: Placed): string {
  const { encrypts } = box;
  const frame = `<rect x="${x}" y="${y}" width="${WIDTH}" height="${HEIGHT}" rx="4" fill="${encrypts ? "#d8efe0" : "#f4f4f4"}" stroke="${encrypts ? "#0b5c2e" : "#666"}" stroke-width="${encrypts ? 3 : 1.2}"/>`;
  const inner = encrypts
    ? `<rect x="${x + 4}" y="${y + 4}" width="${WIDTH - 8}" height="${HEIGHT - 8}" rx="2" fill="none" stroke="#0b5c2e" stroke-width="1"/>${padlock(x + WIDTH - 24, y + 10)}`
    : "";
  const detail = joined(box.detail, ", ");
  const rows = [
    label(x + WIDTH / 2, y + 23, cut(joined(box.title), encrypts ? FITS - 6 : FITS), encrypts ? "bold" : "normal"),
    detail === "" ? "" : label(x + WIDTH / 2, y + 40, cut(detail, FITS_SMALL), "normal", 10),
  ];
  return `${frame}${inner}${rows.join("")}${below.map((b) => boxes(b)).join("")}`;
}

function padlock(x: number, y: number): string {
  return `<path d="M${x + 2} ${y + 7}v-3a4 4 0 0 1 8 0v3" fill="none" stroke="#0b5c2e" stroke-width="1.8"/><rect x="${x}" y="${y + 7}" width="12" height="9" rx="1.5" fill="#0b5c2e"/>`;
}

function cut(text: string, fits: number): string {
  const characters = [...text];
  return characters.length > fits ? `${characters.slice(0, fits - 1).join("")}…` : text;
}

function label(x: number, y: number, text: string, weight: "bold" | "normal", size = 12): string {
  return `<text x="${x}" y="${y}" text-anchor="middle" font-size="${size}" font-weight="${weight}" fill="#111">${xml(text)}</text>`;
}
