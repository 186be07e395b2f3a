import { DOMParser, type Element } from "@xmldom/xmldom";
import { expect, it } from "vitest";
import type { Box, Drawing } from "../model.ts";
import { drawingSvg } from "./svg.ts";

const box = (title: string, below: readonly Box[] = [], more: Partial<Box> = {}): Box => ({
  title: [{ text: title }],
  detail: [],
  encrypts: false,
  below,
  ...more,
});
const drawing = (boxes: readonly Box[]): Drawing => ({
  guest: [{ text: "mail" }],
  disks: boxes.map((b, i) => ({ title: [{ text: `vd${i}` }], encrypted: "yes", box: b })),
});

function shapes(boxes: readonly Box[]) {
  const { svg, width, height } = drawingSvg(drawing(boxes), "de");
  const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement!;
  const all = (name: string) => [...root.getElementsByTagName(name)] as Element[];
  const number = (e: Element, name: string) => Number(e.getAttribute(name));
  // The inner frame of an encrypting layer and the padlock's body have no corner of 4.
  const frames = all("rect")
    .filter((r) => r.getAttribute("rx") === "4")
    .map((r) => ({ x: number(r, "x"), y: number(r, "y"), w: number(r, "width"), h: number(r, "height") }));
  const texts = all("text").map((t) => ({
    x: number(t, "x"),
    y: number(t, "y"),
    size: number(t, "font-size"),
    text: t.textContent ?? "",
  }));
  return { width, height, frames, texts };
}

it("a disk's facts stand in its box, in lines of which none is lost", () => {
  const serial = "WD-WCC4M0123456";
  const disk = box("Datenträger sda", [], {
    detail: ["sata", "HDD", "WDC WD20EFRX-68EUZN0", serial].map((text) => ({ text })),
  });
  const { frames, texts } = shapes([box("Verschlüsselung data_crypt", [disk], { encrypts: true })]);
  expect(texts.map((t) => t.text).join(" ")).toBe(
    `vd0 verschlüsselt Verschlüsselung data_crypt Datenträger sda sata, HDD, WDC WD20EFRX-68EUZN0, ${serial}`,
  );
  for (const { x, y, size, text } of texts.slice(2)) {
    const frame = frames.find((f) => y > f.y && y < f.y + f.h && x > f.x && x < f.x + f.w);
    expect(frame, text).toBeDefined();
    expect(y - size, text).toBeGreaterThanOrEqual(frame!.y);
    // Three quarters of an em for each letter is more than a sans serif takes of such text.
    expect([...text].length * size * 0.75, text).toBeLessThan(frame!.w * 1.3);
  }
});

it("more than fits is cut with an ellipsis; a word without blanks is broken", () => {
  const { texts } = shapes([box("W".repeat(300))]);
  const lines = texts.slice(2).map((t) => t.text);
  expect(lines).toHaveLength(2);
  expect(lines[1]!.endsWith("…")).toBe(true);
});

it("many disks stand in rows that fit a sheet, and no box lies on another", () => {
  const boxes = Array.from({ length: 9 }, (_, i) => box(`Abbild ${i}`, [box("Partition"), box("Partition")]));
  const { width, height, frames, texts } = shapes(boxes);
  expect(width).toBeLessThanOrEqual(780);
  expect(frames).toHaveLength(27);
  for (const [i, a] of frames.entries()) {
    expect(a.x + a.w).toBeLessThanOrEqual(width);
    expect(a.y + a.h).toBeLessThanOrEqual(height);
    for (const b of frames.slice(i + 1))
      expect(a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y).toBe(true);
  }
  expect(texts.filter((t) => t.text.startsWith("Abbild"))).toHaveLength(9);
});
