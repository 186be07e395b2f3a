import type { Lang, Value } from "../../audit/model.ts";
import type { Audience, Block, Box, Paper, Run, Sentence } from "./model.ts";
import { clean } from "./text.ts";

type Kind = Value["kind"];

/** A client sees no paths, serial numbers, addresses or rules; an authority asks for serial numbers and rules when it needs them. */
const HIDDEN: Readonly<Record<Audience, readonly Kind[]>> = {
  client: ["path", "serial", "address", "rule"],
  authority: ["serial", "rule"],
  internal: [],
};

const INSTEAD: Readonly<Record<Lang, Partial<Record<Kind, string>>>> = {
  de: { path: "[Pfad]", serial: "[Seriennummer]", address: "[Adresse]", rule: "[Regel]", guest: "[anderer Gast]" },
  en: { path: "[path]", serial: "[serial number]", address: "[address]", rule: "[rule]", guest: "[another guest]" },
};

/** What puts something else in the place of a value that the audience is not to see. `guests`: those of the client; other names are other clients'. */
export function redactor(audience: Audience, lang: Lang, guests: readonly string[]): (run: Run) => Run {
  const hidden = HIDDEN[audience];
  const own = new Set(guests.map(clean));
  return (run) => {
    const others = run.kind === "guest" && audience === "client" && !own.has(run.text);
    if (run.kind === undefined || !(hidden.includes(run.kind) || others)) return run;
    return { text: INSTEAD[lang][run.kind] ?? "[…]" };
  };
}

/** Takes out of a paper what its audience is not to see. */
export function redact(paper: Paper, guests: readonly string[]): Paper {
  const run = redactor(paper.audience, paper.lang, guests);
  const runs = (list: readonly Run[]): readonly Run[] => list.map(run);
  const sentence = (s: Sentence): Sentence => ({ ...s, runs: runs(s.runs) });
  const cell = (list: readonly Sentence[]): readonly Sentence[] => list.map(sentence);
  // A drawing says less, instead of naming what it does not say.
  const shown = (list: readonly Run[]): readonly Run[] => list.filter((r) => run(r) === r);
  const box = (b: Box): Box => ({ ...b, title: shown(b.title), detail: shown(b.detail), below: b.below.map(box) });
  const block = (b: Block): Block => {
    switch (b.kind) {
      case "heading":
        return { ...b, runs: runs(b.runs) };
      case "paragraph":
      case "note":
        return { ...b, sentences: cell(b.sentences) };
      case "list":
        return { ...b, items: b.items.map(cell) };
      case "table":
        return { ...b, rows: b.rows.map((row) => row.map(cell)) };
      case "signature":
        return b;
      case "figure": {
        const disks = b.drawing.disks.map((d) => ({ ...d, title: runs(d.title), box: d.box && box(d.box) }));
        return { ...b, drawing: { guest: runs(b.drawing.guest), disks } };
      }
    }
  };
  return { ...paper, blocks: paper.blocks.map(block) };
}
